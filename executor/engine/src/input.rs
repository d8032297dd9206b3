//! Inputs of the engine: responses of upstreams, acknowledgements of the sink, expired timers, and
//! stops.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::message::Message;

/// The time at which an input happened. The engine reads no clock.
#[derive(Debug, Clone, Copy)]
pub struct CurrentTime {
    /// Wall-clock time; may jump.
    pub wall: DateTime<Utc>,
    /// Time since some fixed point of this process; never goes back.
    pub monotonic: Duration,
}

/// Identifies one HTTP try of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TryId(pub u64);

/// Identifies one message that was handed out for sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmitId(pub u64);

/// Identifies one timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u64);

/// Something that happened. Inputs with an id that the engine no longer knows are ignored.
#[derive(Debug, Clone)]
pub enum Input {
    /// Starts the attempt; the first input, sent once.
    Begin,
    /// A try ended: with a whole response, or without one.
    Response {
        /// The try.
        try_id: TryId,
        /// The response, or the reason why there is none.
        result: Result<Response, FetchError>,
        /// Time from the first byte sent to the last byte read.
        duration: Duration,
    },
    /// The head of a response whose body is streamed ([`crate::BodyStreaming`]): status, headers
    /// and URL. The engine requests each piece of the body with [`crate::Output::ReadBody`].
    ResponseHead {
        /// The try.
        try_id: TryId,
        /// The response, with an empty body.
        response: Response,
        /// Time from the first byte sent to the end of the head.
        duration: Duration,
    },
    /// The next piece of a streamed body. No further input follows for this try after the end of
    /// the body or an error.
    BodyPiece {
        /// The try.
        try_id: TryId,
        /// The decompressed piece, `None` at the end of the body, or the reason why the body broke
        /// off.
        piece: Result<Option<BodyPiece>, FetchError>,
        /// Time from the first byte sent to this piece.
        duration: Duration,
    },
    /// A timer expired.
    TimerFired {
        /// The timer.
        timer_id: TimerId,
    },
    /// Kafka has stored a message durably.
    MessageAcked {
        /// The message.
        emit_id: EmitId,
    },
    /// The broker refused a message because of its size, and always will, even if it is sent alone.
    MessageRefused {
        /// Id of the message.
        emit_id: EmitId,
        /// The message: the engine keeps no copies.
        message: Message,
    },
    /// Stops the attempt. The engine replies to this input with `Park` or `Finished`; only an
    /// execution that still has to cancel async jobs at upstreams continues until that is done,
    /// bounded by [`crate::CANCEL_GRACE`].
    Stop(StopReason),
}

/// Reason for stopping an attempt before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The execution was cancelled; it ends `cancelled`.
    Cancel,
    /// The executor shuts down; the execution is released at its last acknowledged checkpoint.
    Drain,
    /// Kafka accepts no messages; the execution is parked at its last acknowledged checkpoint.
    SinkStalled,
    /// The execution time is used up, as with `max_execution_seconds`.
    TimeLimit,
}

/// An HTTP response of any status, after redirects and decompression.
#[derive(Debug, Clone)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Lower-case names and values in the order received, repeats kept.
    pub headers: Vec<(String, String)>,
    /// The decoded body, never longer than the request allows.
    pub body: Bytes,
    /// The URL that responded; differs from the request's URL after redirects.
    pub url: String,
    /// The files that the body consists of, if it is an archive.
    pub files: Vec<ArchiveFile>,
}

/// A piece of a streamed body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyPiece {
    /// The decompressed bytes; empty only for an empty file of an archive.
    pub bytes: Bytes,
    /// Name of the file that begins with this piece, if the body is an archive.
    pub file: Option<String>,
}

impl From<Bytes> for BodyPiece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, file: None }
    }
}

/// A file of an archive, whose bytes follow those of the file before it in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveFile {
    /// Path in the archive.
    pub name: String,
    /// Number of bytes.
    pub bytes: usize,
}

/// A try that ended without a whole response.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// Kind of the failure.
    pub kind: FetchErrorKind,
    /// Description without secrets. The engine redacts the secrets it knows; the URL's query is
    /// best left out.
    pub message: String,
    /// Status code, if the head of a response had arrived.
    pub status: Option<u16>,
    /// The response, if its head had arrived, with the decoded part of its body that came before
    /// the failure. A body that is streamed has been delivered in pieces, and is not repeated.
    pub received: Option<Box<Response>>,
}

/// Kind of a failed try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FetchErrorKind {
    /// The try took longer than the step's timeout.
    Timeout,
    /// The host name did not resolve.
    Dns,
    /// The connection could not be opened.
    Connect,
    /// The TLS handshake failed.
    Tls,
    /// A certificate was refused: the server's, or the client's. No retry mends that.
    Certificate,
    /// The connection broke before the last byte.
    Broken,
    /// The body is larger than the request allows; reading stopped at the limit.
    TooLarge,
    /// The body could not be decompressed.
    Decode,
    /// The response redirected more often than the request allows.
    TooManyRedirects,
    /// A redirect led to a host that the request's policy refuses, or from https to http.
    HostNotAllowed,
    /// The address guard refused the host's address.
    AddressRefused,
    /// The request cannot be expressed in HTTP.
    InvalidRequest,
}

impl FetchErrorKind {
    /// Returns the code used in messages, `ignore_on` and `retry.on`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Timeout => "TIMEOUT",
            Self::Dns => "DNS",
            Self::Connect => "CONNECT",
            Self::Tls | Self::Certificate => "TLS",
            Self::Broken => "BROKEN",
            Self::TooLarge => "TOO_LARGE",
            Self::Decode => "DECODE",
            Self::TooManyRedirects => "TOO_MANY_REDIRECTS",
            Self::HostNotAllowed => "HOST_NOT_ALLOWED",
            Self::AddressRefused => "ADDRESS_REFUSED",
            Self::InvalidRequest => "INVALID_REQUEST",
        }
    }
}
