//! The services that all attempts of the process share.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::control::ControlPlaneClient;
use crate::fetch::Fetcher;
use crate::lease::SelfFence;
use crate::plan_cache::PlanCache;
use crate::report::Reporter;
use crate::runner::slow_lane::SlowLane;
use crate::sink::MessageSink;

/// The services that all attempts of the process share.
pub struct RunnerServices {
    /// Creates the HTTP agent of an attempt.
    pub fetcher: Fetcher,
    /// Produces messages.
    pub sink: MessageSink,
    /// Reports to the control plane.
    pub reporter: Reporter,
    /// Fetches contexts that are too large for their grant.
    pub control: Arc<ControlPlaneClient>,
    /// Compiled plans.
    pub plans: Arc<PlanCache>,
    /// Closed while this process must not work.
    pub fence: Arc<SelfFence>,
    /// Time without any acknowledgement from Kafka after which an execution parks.
    pub sink_timeout: Duration,
    /// Largest Kafka message, in bytes.
    pub message_max_bytes: usize,
    /// Where expressions that take long are evaluated.
    pub slow_lane: Arc<SlowLane>,
    /// Cancelled when attempts must stop and hand their executions back.
    pub hand_back: CancellationToken,
}
