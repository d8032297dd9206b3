//! Logs to stderr, as text or as JSON lines with trace ids, and traces to an OTLP collector where one is set. Never prints to stdout, which
//! belongs to a command's answer.

mod json;
mod settings;
mod traceparent;

use std::{io::IsTerminal as _, time::Duration};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::WithExportConfig as _;
use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{ParseError, filter_fn},
    fmt,
    layer::SubscriberExt as _,
    registry::LookupSpan,
    util::SubscriberInitExt as _,
};

pub use self::settings::{LogFormat, TelemetrySettings};
pub use self::traceparent::{Traceparent, TraceparentError, current_traceparent, set_parent};

/// The target of spans that are only made where traces go somewhere: there are many of them, and logs lose little without.
pub const EXPORT_ONLY_SPANS: &str = "orchid::fine";

/// Telemetry could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` does not parse.
    #[error("log.filter `{filter}` is not valid")]
    Filter {
        /// As it was written.
        filter: String,
        /// Why.
        source: ParseError,
    },
    /// `otlp.endpoint` cannot be used.
    #[error("otlp.endpoint `{endpoint}` cannot be used")]
    Otlp {
        /// As it was written.
        endpoint: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// Somebody else has set a subscriber.
    #[error("telemetry was started already")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Running telemetry; flush it before the process ends, or the last spans are lost.
#[derive(Debug)]
pub struct Telemetry {
    provider: SdkTracerProvider,
}

impl Telemetry {
    /// Starts logging and tracing for the whole process. `instance` tells replicas of one service apart. Call it inside a runtime.
    pub fn start(
        service: &'static str,
        instance: &str,
        settings: &TelemetrySettings,
    ) -> Result<Self, TelemetryError> {
        let filter = EnvFilter::try_new(&settings.filter)
            .map_err(|source| TelemetryError::Filter { filter: settings.filter.clone(), source })?;
        let provider = provider(service, instance, settings.otlp_endpoint.as_deref())?;
        opentelemetry::global::set_text_map_propagator(TraceContextPropagator::new());
        let exports = settings.otlp_endpoint.is_some();
        let spans = tracing_opentelemetry::layer()
            .with_tracer(provider.tracer(service))
            // Times of each poll and names of threads: nobody reads them, and every poll of every task would pay.
            .with_tracked_inactivity(false)
            .with_threads(false)
            .with_location(false);
        tracing_subscriber::registry()
            .with(filter)
            .with(filter_fn(move |metadata| exports || metadata.target() != EXPORT_ONLY_SPANS))
            .with(spans)
            .with(lines(settings.format))
            .try_init()?;
        Ok(Self { provider })
    }

    /// Sends what is left and stops exporting. Blocks its thread for at most `deadline`.
    pub fn flush(self, deadline: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(deadline) {
            tracing::warn!(%error, "the last traces may be lost");
        }
    }
}

fn lines<S>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync>
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

fn provider(
    service: &'static str,
    instance: &str,
    endpoint: Option<&str>,
) -> Result<SdkTracerProvider, TelemetryError> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance.to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let builder = SdkTracerProvider::builder().with_resource(resource);
    let Some(endpoint) = endpoint else { return Ok(builder.build()) };
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .map_err(|source| TelemetryError::Otlp { endpoint: endpoint.to_owned(), source })?;
    Ok(builder.with_batch_exporter(exporter).build())
}
