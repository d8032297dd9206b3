//! Receives the response to one try: as a whole, or as a head with a body that is streamed.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::body::Body;
use crate::input::{ArchiveFile, BodyPiece, FetchError, FetchErrorKind, Response};
use crate::message::exchange::SentRequest;
use crate::output::Output;
use crate::page::exchange::{PageExchange, SentTry};
use crate::program::node::StepNode;
use crate::state::buffer_meter::{BufferMeter, MeteredBuffer};
use crate::state::engine_cx::EngineCx;
use crate::state::event::StepEvent;
use crate::step::response::{self, StreamedRows};

/// A try whose response has not arrived completely.
pub(crate) struct ResponseReceiver {
    sent: SentTry,
    /// A streamed response that has to be read as a whole, because its body does not consist of
    /// rows.
    buffered: Option<BufferedBody>,
}

/// A body that arrives in pieces and is read as a whole.
struct BufferedBody {
    head: Response,
    body: BytesMut,
    /// Counts `body`.
    metered: MeteredBuffer,
}

/// State of a reception after an event.
#[expect(
    clippy::large_enum_variant,
    reason = "a short-lived return value; boxing it would cost an allocation for each response"
)]
pub(crate) enum Reception {
    /// More is to come.
    Pending(Box<ResponseReceiver>),
    /// The response can be judged.
    Complete(PageExchange),
}

impl ResponseReceiver {
    pub(crate) fn new(sent: SentTry) -> Self {
        Self { sent, buffered: None }
    }

    /// Returns the request.
    pub(crate) fn request(&self) -> &SentRequest {
        &self.sent.facts
    }

    /// Takes an event. Those of other tries change nothing.
    pub(crate) fn receive(
        self: Box<Self>,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        retries_left: bool,
        event: StepEvent,
    ) -> Reception {
        match event {
            StepEvent::Response { try_id, result, duration }
                if try_id == self.sent.try_id && self.buffered.is_none() =>
            {
                self.complete(cx, node, retries_left, result, duration)
            }
            StepEvent::ResponseHead { try_id, response, duration }
                if try_id == self.sent.try_id && self.buffered.is_none() =>
            {
                self.head_arrived(cx, node, retries_left, response, duration)
            }
            StepEvent::BodyPiece { try_id, piece, duration } if try_id == self.sent.try_id => {
                self.piece_arrived(cx, node, retries_left, piece, duration)
            }
            StepEvent::Response { .. }
            | StepEvent::ResponseHead { .. }
            | StepEvent::BodyPiece { .. }
            | StepEvent::TimerFired { .. }
            | StepEvent::RoomAvailable => Reception::Pending(self),
        }
    }

    fn complete(
        self: Box<Self>,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        retries_left: bool,
        result: Result<Response, FetchError>,
        duration: Duration,
    ) -> Reception {
        let sent = self.sent;
        let response = match result {
            Ok(response) => {
                let received = response.body.clone();
                let mut read = response::read(node, &sent, response, cx, duration, retries_left);
                // A body in another format or encoding is a copy.
                hold_copy(&mut read.body, &received, &cx.run.buffers);
                read
            }
            Err(error) => response::interrupted(node, &sent, error, cx, duration, retries_left),
        };
        // Streamed bodies are counted piece by piece instead.
        cx.run.progress.counts.bytes += response.facts.size.unwrap_or_default();
        Reception::Complete(PageExchange::new(sent, response))
    }

    /// Decides by the head whether the rows are taken from the stream, or the body is buffered.
    fn head_arrived(
        mut self: Box<Self>,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        retries_left: bool,
        head: Response,
        duration: Duration,
    ) -> Reception {
        let rows = response::streamed_rows(node, &head);
        if matches!(rows, StreamedRows::WholeBody) {
            cx.out.push(Output::ReadBody { try_id: self.sent.try_id });
            let metered = cx.run.buffers.buffer();
            self.buffered = Some(BufferedBody { head, body: BytesMut::new(), metered });
            return Reception::Pending(self);
        }
        // The body is empty so far, and reads as such: only status and headers are judged here.
        let sent = self.sent;
        let mut response = response::read(node, &sent, head, cx, duration, retries_left);
        // The size is not known before the last piece.
        response.facts.size = None;
        match rows {
            StreamedRows::Rows(rows) => response.stream = Some((rows, sent.try_id)),
            StreamedRows::Failed(failure, problem) => {
                cx.discard(sent.try_id);
                response.fail(failure, problem, retries_left);
            }
            StreamedRows::WholeBody => {}
        }
        Reception::Complete(PageExchange::new(sent, response))
    }

    fn piece_arrived(
        mut self: Box<Self>,
        cx: &mut EngineCx<'_>,
        node: &StepNode,
        retries_left: bool,
        piece: Result<Option<BodyPiece>, FetchError>,
        duration: Duration,
    ) -> Reception {
        let try_id = self.sent.try_id;
        let Some(BufferedBody { head, body, metered }) = &mut self.buffered else {
            return Reception::Pending(self);
        };
        let result = match piece {
            Ok(Some(BodyPiece { bytes, file })) => {
                head.files.extend(file.map(|name| ArchiveFile { name, bytes: 0 }));
                if let Some(file) = head.files.last_mut() {
                    file.bytes += bytes.len();
                }
                body.extend_from_slice(&bytes);
                metered.set(body.len());
                // The sender bounds streamed bodies by a larger limit; a body in memory has this
                // one.
                let max = node.step.response.max_bytes.min(cx.run.limits.body_max_bytes);
                if body.len() as u64 <= max {
                    cx.out.push(Output::ReadBody { try_id });
                    return Reception::Pending(self);
                }
                cx.discard(try_id);
                let message = format!("the body is larger than {max} bytes: stopped while reading");
                let status = Some(head.status);
                Err(FetchError { kind: FetchErrorKind::TooLarge, message, status, received: None })
            }
            Ok(None) => {
                cx.run.try_ended(try_id);
                Ok(())
            }
            Err(error) => {
                cx.run.try_ended(try_id);
                Err(error)
            }
        };
        let response = self
            .buffered
            .take()
            .map(|buffered| Response { body: cx.run.buffers.hold(buffered.body.freeze()), ..buffered.head });
        let result = match (result, response) {
            (Ok(()), Some(response)) => Ok(response),
            (Ok(()), None) => return Reception::Pending(self),
            (Err(error), received) => Err(FetchError { received: received.map(Box::new), ..error }),
        };
        self.complete(cx, node, retries_left, result, duration)
    }
}

/// Counts the text of a body, unless it is a part of the body as it was received.
fn hold_copy(body: &mut Body, received: &Bytes, meter: &BufferMeter) {
    if let Body::Json { text, .. } = body
        && !received.as_ptr_range().contains(&text.as_ptr())
    {
        *text = meter.hold(std::mem::take(text));
    }
}
