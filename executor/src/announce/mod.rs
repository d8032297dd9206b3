//! Announcements: terminal events that the control plane has committed and Kafka must receive.
//!
//! The control plane hands announcements over in heartbeat and Complete responses, and repeats each
//! one until a heartbeat confirms it. This room sends every announcement to the events topic and,
//! under the same key, to the responses topic, and tells the next heartbeat which ones Kafka has
//! acknowledged. It creates no event itself. An execution's own messages are all acknowledged
//! before its Complete call, so the announcement always follows them.

mod announcer;
mod tracker;

pub use announcer::{AnnouncementLoop, Announcer, announcer};
pub use tracker::AnnouncementKey;
