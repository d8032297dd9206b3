//! Logs to stderr, as text or JSON lines; traces and metrics to an OTLP collector if one is
//! configured.
//!
//! Nothing is printed to stdout, which is for the output of commands.

mod json;
mod metrics;
mod settings;
mod traceparent;

use std::io::IsTerminal as _;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Subscriber;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub use self::metrics::observe_gauge;
pub use self::settings::{LogFormat, TelemetrySettings};
pub use self::traceparent::{Traceparent, TraceparentError, current_traceparent, set_parent};

/// The target of spans that are only created if traces are exported. There are many of them, and
/// logs need them little.
pub const EXPORT_ONLY_SPANS: &str = "orchid::fine";

/// The reason why telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` does not parse.
    #[error("log.filter `{filter}` is invalid")]
    Filter {
        /// Configured filter.
        filter: String,
        /// Reason.
        source: ParseError,
    },
    /// `otlp.endpoint` cannot be used.
    #[error("otlp.endpoint `{endpoint}` cannot be used")]
    Otlp {
        /// Configured endpoint.
        endpoint: String,
        /// Reason.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The process has a subscriber already.
    #[error("telemetry is already started")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Running telemetry. Flush it before the process ends, or the last spans and metrics are lost.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
    /// `None` if nothing is exported.
    meters: Option<SdkMeterProvider>,
}

impl Telemetry {
    /// Starts logging and tracing for the whole process. `instance` distinguishes the replicas of a
    /// service. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// Fails if the filter or the endpoint is invalid, or if telemetry is already started.
    pub fn start(
        service: &'static str,
        instance: &str,
        settings: &TelemetrySettings,
    ) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&settings.filter)
            .map_err(|source| TelemetryError::Filter { filter: settings.filter.clone(), source })?;
        let endpoint = settings.otlp_endpoint.as_deref();
        let resource = Resource::builder()
            .with_service_name(service)
            .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
            .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = tracer_provider(resource.clone(), endpoint)?;
        let meters = metrics::meter_provider(resource, endpoint).map_err(unusable(endpoint))?;
        if let Some(meters) = &meters {
            opentelemetry::global::set_meter_provider(meters.clone());
        }
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let exports = settings.otlp_endpoint.is_some();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            // Poll times, threads and locations are never read, but each poll of each task would
            // pay for them.
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_location(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(filter_fn(move |metadata| exports || metadata.target() != EXPORT_ONLY_SPANS))
            .with(spans)
            .with(log_layer(settings.format))
            .try_init()?;
        Ok(Self { provider, meters })
    }

    /// Exports the remaining spans and metrics, and stops. Blocks its thread for at most `deadline`
    /// each.
    pub fn flush(self, deadline: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(deadline) {
            tracing::warn!(%error, "the last traces may be lost");
        }
        if let Some(Err(error)) = self.meters.map(|meters| meters.shutdown_with_timeout(deadline)) {
            tracing::warn!(%error, "the last metrics may be lost");
        }
    }
}

fn log_layer<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(std::io::stderr);
    match format {
        LogFormat::Text => layer.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => {
            layer.fmt_fields(fmt::format::JsonFields::new()).event_format(json::JsonLines).boxed()
        }
    }
}

fn tracer_provider(resource: Resource, endpoint: Option<&str>) -> Result<SdkTracerProvider, TelemetryError> {
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(address) = endpoint else { return Ok(builder.build()) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(address)
        .build()
        .map_err(unusable(endpoint))?;
    Ok(builder.with_batch_exporter(exporter).build())
}

fn unusable(endpoint: Option<&str>) -> impl FnOnce(opentelemetry_otlp::ExporterBuildError) -> TelemetryError {
    let endpoint = endpoint.unwrap_or_default().to_owned();
    |source| TelemetryError::Otlp { endpoint, source }
}
