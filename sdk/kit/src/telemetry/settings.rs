//! The telemetry settings, which are the same in every process.

use crate::settings::SettingsReader;

/// The telemetry settings of a process.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// Format of log lines.
    pub format: LogFormat,
    /// Log filter, as `tracing` directives.
    pub filter: String,
    /// OTLP endpoint for traces and metrics, `http://host:4317`. Without it nothing is exported,
    /// but trace ids are still propagated.
    pub otlp_endpoint: Option<String>,
}

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people, coloured at a terminal.
    Text,
    /// One JSON object per line.
    Json,
}

impl TelemetrySettings {
    /// Reads `log.format`, `log.filter` and `otlp.endpoint`.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self {
            format: reader
                .choice("log.format", &formats, "format of log lines: text or json")
                .unwrap_or(LogFormat::Text),
            filter: reader.text(
                "log.filter",
                "info",
                "log filter, as tracing directives (info,orchid_executor=debug)",
            ),
            otlp_endpoint: reader.optional_text(
                "otlp.endpoint",
                "OTLP endpoint for traces and metrics over gRPC, http://host:4317; without it none are exported",
            ),
        }
    }
}
