//! Inputs as steps receive them: those that belong to a try or to a timer.

use std::time::Duration;

use crate::input::{BodyPiece, FetchError, Response, TimerId, TryId};

/// An input for one step, or for a step below it.
pub(crate) enum StepEvent {
    /// A try ended: with a whole response, or without one.
    Response { try_id: TryId, result: Result<Response, FetchError>, duration: Duration },
    /// The head of a response whose body is streamed.
    ResponseHead { try_id: TryId, response: Response, duration: Duration },
    /// A piece of a streamed body, its end, or the reason why it broke off.
    BodyPiece { try_id: TryId, piece: Result<Option<BodyPiece>, FetchError>, duration: Duration },
    /// A timer expired.
    TimerFired { timer_id: TimerId },
    /// Enough messages were acknowledged for rows that waited to continue.
    RoomAvailable,
}
