//! The settings of telemetry, the same in every process.

use crate::settings::SettingsReader;

/// What a process asked for.
#[derive(Debug, Clone)]
pub struct TelemetrySettings {
    /// How log lines look.
    pub format: LogFormat,
    /// Which are written, as `tracing` filter directives.
    pub filter: String,
    /// Where traces go, `http://host:4317`; none: they are not exported, and ids still run through.
    pub otlp_endpoint: Option<String>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured at a terminal.
    Text,
    /// One JSON object a line.
    Json,
}

impl TelemetrySettings {
    /// `log.format`, `log.filter`, `otlp.endpoint`.
    pub fn read(reader: &mut SettingsReader) -> Self {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        Self {
            format: reader
                .choice("log.format", &formats, "how log lines look: text or json")
                .unwrap_or(LogFormat::Text),
            filter: reader.text(
                "log.filter",
                "info",
                "which log lines are written, as tracing directives (info,orchid_executor=debug)",
            ),
            otlp_endpoint: reader.optional_text(
                "otlp.endpoint",
                "where traces go by OTLP over gRPC, http://host:4317; none: nowhere",
            ),
        }
    }
}
