//! What the engine is told: answers of the upstream, acknowledgements of the sink, waits that are over, stops.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

/// The time of a step. The engine reads no clock.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// Wall time; may jump.
    pub wall: DateTime<Utc>,
    /// Time since some fixed point of this process; never goes back.
    pub monotonic: Duration,
}

/// Names one HTTP try of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TryId(pub u64);

/// Names one message handed out for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmitId(pub u64);

/// Names one wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WaitId(pub u64);

/// What happened. Anything about an id that the engine no longer knows is ignored.
#[derive(Debug, Clone)]
pub enum Input {
    /// The first input, once.
    Begin,
    /// A try ended.
    Answer {
        /// Which.
        try_id: TryId,
        /// What came, or why nothing did.
        result: Result<Response, FetchError>,
        /// From the first byte sent to the last one read.
        duration: Duration,
    },
    /// The head of an answer that comes in pieces ([`crate::Pieces`]): status, headers and url, without its body. Each
    /// piece is asked for with [`crate::Output::Read`].
    Head {
        /// Which.
        try_id: TryId,
        /// Its body is empty.
        response: Response,
        /// From the first byte sent to the end of the head.
        duration: Duration,
    },
    /// The next piece of a body, decompressed; none: it has ended. After its end or an error comes nothing more of the try.
    Piece {
        /// Which.
        try_id: TryId,
        /// What came, or why nothing more does.
        piece: Result<Option<Bytes>, FetchError>,
        /// From the first byte sent to this piece.
        duration: Duration,
    },
    /// A wait is over.
    Woke {
        /// Which.
        wait_id: WaitId,
    },
    /// Kafka has a message for good.
    Acked {
        /// Which.
        emit_id: EmitId,
    },
    /// The broker will never take a message of this size.
    Refused {
        /// Which.
        emit_id: EmitId,
        /// Its bytes.
        size: usize,
    },
    /// The run is to stop. Answered in the same step by `Park` or `Finished`; only a run that has to tell an upstream that
    /// nobody waits for its job any more goes on until it has, bounded by [`crate::CANCEL_WAIT`].
    Stop(StopReason),
}

/// Why a run is to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody cancelled it: it ends `cancelled`.
    Cancel,
    /// The executor shuts down: the run is handed back at its last acknowledged place.
    Drain,
    /// Kafka takes nothing: the run is parked at its last acknowledged place.
    SinkStalled,
    /// Its time is over: as if `max_execution_seconds` had passed.
    TimeLimit,
}

/// An HTTP answer, whatever its status, after redirects and decompression.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Lower-case name and value, in the order they came, repeats kept.
    pub headers: Vec<(String, String)>,
    /// The decoded body, at most as long as the request allowed.
    pub body: Bytes,
    /// The url that answered; differs from the request's where redirects led elsewhere.
    pub url: String,
}

/// A try without a whole answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// What kind.
    pub kind: FetchErrorKind,
    /// In words, without secrets: the engine redacts those it knows, the url's query is best left out.
    pub message: String,
    /// The status, where the head of an answer had come.
    pub status: Option<u16>,
}

/// Why a try has no whole answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// Longer than the step's timeout.
    Timeout,
    /// The name did not resolve.
    Dns,
    /// No connection.
    Connect,
    /// No secure connection.
    Tls,
    /// The connection broke before the last byte.
    Broken,
    /// The body is larger than the request allowed; stopped while reading.
    TooLarge,
    /// The body does not decompress.
    Decode,
    /// More redirects than the request allowed.
    TooManyRedirects,
    /// A redirect led to a host that the request's policy refuses, or from https to http.
    HostNotAllowed,
    /// The address guard refused the host's address.
    AddressRefused,
    /// The request cannot be put on the wire.
    InvalidRequest,
}

impl FetchErrorKind {
    /// The code that messages, `ignore_on` and `retry.on` use.
    pub fn code(self) -> &'static str {
        match self {
            FetchErrorKind::Timeout => "TIMEOUT",
            FetchErrorKind::Dns => "DNS",
            FetchErrorKind::Connect => "CONNECT",
            FetchErrorKind::Tls => "TLS",
            FetchErrorKind::Broken => "BROKEN",
            FetchErrorKind::TooLarge => "TOO_LARGE",
            FetchErrorKind::Decode => "DECODE",
            FetchErrorKind::TooManyRedirects => "TOO_MANY_REDIRECTS",
            FetchErrorKind::HostNotAllowed => "HOST_NOT_ALLOWED",
            FetchErrorKind::AddressRefused => "ADDRESS_REFUSED",
            FetchErrorKind::InvalidRequest => "INVALID_REQUEST",
        }
    }
}
