//! Metrics, exported with the traces.

use opentelemetry_otlp::{ExporterBuildError, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;

/// Instrumentation scope of all metrics.
const SCOPE: &str = "orchid";

/// Registers a gauge: `value` is called each time metrics are exported. Without an OTLP endpoint
/// this does nothing.
pub fn observe_gauge(
    name: &'static str,
    unit: &'static str,
    description: &'static str,
    value: impl Fn() -> u64 + Send + Sync + 'static,
) {
    // The instrument stays registered with the provider; the handle is not needed.
    let _gauge = opentelemetry::global::meter(SCOPE)
        .u64_observable_gauge(name)
        .with_unit(unit)
        .with_description(description)
        .with_callback(move |observer| observer.observe(value(), &[]))
        .build();
}

/// Creates the provider that exports to this endpoint every minute; `None` without an endpoint.
pub(super) fn meter_provider(
    resource: Resource,
    endpoint: Option<&str>,
) -> Result<Option<SdkMeterProvider>, ExporterBuildError> {
    let Some(endpoint) = endpoint else { return Ok(None) };
    let exporter =
        opentelemetry_otlp::MetricExporter::builder().with_tonic().with_endpoint(endpoint).build()?;
    let provider = SdkMeterProvider::builder().with_resource(resource).with_periodic_exporter(exporter);
    Ok(Some(provider.build()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::metrics::Temporality;
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
    use opentelemetry_sdk::metrics::exporter::PushMetricExporter;

    use super::*;

    /// Name, unit and values of a gauge.
    type RecordedGauge = (String, String, Vec<u64>);

    /// The gauges that were exported.
    #[derive(Clone, Default)]
    struct RecordedGauges(Arc<Mutex<Vec<RecordedGauge>>>);

    impl PushMetricExporter for RecordedGauges {
        async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
            for metric in metrics.scope_metrics().flat_map(|scope| scope.metrics()) {
                let AggregatedMetrics::U64(MetricData::Gauge(gauge)) = metric.data() else { continue };
                let values = gauge.data_points().map(|point| point.value()).collect();
                self.0.lock().unwrap().push((metric.name().to_owned(), metric.unit().to_owned(), values));
            }
            Ok(())
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
            Ok(())
        }

        fn temporality(&self) -> Temporality {
            Temporality::Cumulative
        }
    }

    #[test]
    fn gauge_is_exported_with_its_value() {
        let recorded = RecordedGauges::default();
        let provider = SdkMeterProvider::builder().with_periodic_exporter(recorded.clone()).build();
        opentelemetry::global::set_meter_provider(provider.clone());
        observe_gauge("orchid.test", "By", "a number", || 7);
        provider.force_flush().unwrap();
        let expected = ("orchid.test".to_owned(), "By".to_owned(), vec![7]);
        assert_eq!(*recorded.0.lock().unwrap(), [expected]);
    }
}
