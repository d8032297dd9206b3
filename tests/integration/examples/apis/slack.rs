//! Slack: messages of channels, newest first, and the replies of their threads. Errors have the
//! status 200, a rate limit has 429; `oldest` is exclusive; the last page's cursor is empty.

use chrono::{DateTime, TimeDelta, Utc};
use orchid_tests::{ReceivedRequest, UpstreamReply};
use serde_json::{Value, json};

use super::super::api::{ApiSetup, Example, ExampleApi, ExpectedOutcome};
use super::super::files::variable;
use super::super::server_parts::{PageTokens, Turnstile, header, json_with, page, param};

pub(in super::super) const EXAMPLE: Example = Example {
    folder: "slack-history",
    values: |ground| json!({"base_url": format!("{}/api", ground.url), "channels": ["C0ONE", "C0TWO", "C0NOT"]}),
    api: |ground| Box::new(Slack::new(ground)),
};

/// A message with its number of replies.
#[derive(Debug, Clone)]
struct Message {
    ts: String,
    replies: usize,
}

#[derive(Debug, Clone)]
enum Place {
    History { channel: String, oldest: String, start: usize },
    Replies { channel: String, ts: String, start: usize },
}

struct Slack {
    now: DateTime<Utc>,
    /// The messages, oldest first.
    channels: [(&'static str, Vec<Message>); 2],
    places: PageTokens<Place>,
    hiccup: Turnstile,
    limit: Turnstile,
    revoked: bool,
    due: Vec<Value>,
}

fn ts(time: DateTime<Utc>, micros: usize) -> String {
    format!("{}.{micros:06}", time.timestamp())
}

fn refused(error: &str) -> UpstreamReply {
    UpstreamReply::ok(json!({"ok": false, "error": error}))
}

impl Slack {
    fn new(ground: &ApiSetup) -> Slack {
        let begin = ground.now - TimeDelta::days(9);
        let message = |number: usize| Message {
            ts: ts(begin + TimeDelta::hours(number as i64 / 5), 100 + number),
            replies: match number {
                30 => 120,
                _ if number.is_multiple_of(25) => 1,
                _ => 0,
            },
        };
        Slack {
            now: ground.now,
            channels: [("C0ONE", (0..120).map(message).collect()), ("C0TWO", (0..10).map(message).collect())],
            places: PageTokens::new(),
            hiccup: Turnstile::shut_at(2),
            limit: Turnstile::shut_at(4),
            revoked: false,
            due: Vec::new(),
        }
    }

    fn of(&self, channel: &str) -> Option<&[Message]> {
        self.channels.iter().find(|(name, _)| *name == channel).map(|(_, messages)| messages.as_slice())
    }

    fn json(message: &Message) -> Value {
        let mut json = json!({"type": "message", "user": "U1", "text": "a < b", "ts": message.ts});
        if message.replies > 0 {
            json["thread_ts"] = json!(message.ts);
            json["reply_count"] = json!(message.replies);
        }
        json
    }

    fn replies(message: &Message) -> Vec<Value> {
        let reply = |number| {
            json!({"type": "message", "user": "U2", "text": "re", "ts": format!("{}{number:03}", message.ts),
            "thread_ts": message.ts})
        };
        (0..message.replies).map(reply).collect()
    }

    fn row(message: &Message) -> Value {
        let mut row = Slack::json(message);
        // Without replies, the step is skipped.
        row["_steps"] =
            if message.replies > 0 { json!({"replies": Slack::replies(message)}) } else { json!({}) };
        row
    }

    fn place(&self, ask: &ReceivedRequest) -> Result<Place, UpstreamReply> {
        let channel = param(ask, "channel").unwrap_or_default().to_owned();
        if !channel.starts_with("C0") {
            return Err(refused("channel_not_found"));
        }
        if let Some(cursor) = param(ask, "cursor") {
            return self.places.get(cursor).cloned().ok_or_else(|| refused("invalid_cursor"));
        }
        match ask.path.as_str() {
            _ if param(ask, "limit") != Some("200") => Err(refused("invalid_limit")),
            "/api/conversations.history" => {
                let oldest = param(ask, "oldest").unwrap_or("0").to_owned();
                Ok(Place::History { channel, oldest, start: 0 })
            }
            "/api/conversations.replies" => match param(ask, "ts") {
                Some(ts) => Ok(Place::Replies { channel, ts: ts.to_owned(), start: 0 }),
                None => Err(refused("thread_not_found")),
            },
            _ => Err(refused("unknown_method")),
        }
    }

    fn list(&mut self, place: Place) -> UpstreamReply {
        let (messages, next) = match place {
            Place::History { channel, oldest, start } => {
                let Some(messages) = self.of(&channel) else { return refused("not_in_channel") };
                let newer = |message: &&Message| message.ts.as_str() > oldest.as_str();
                let newest_first: Vec<Value> = messages.iter().rev().filter(newer).map(Slack::json).collect();
                let (messages, next) = page(&newest_first, start, 50);
                (messages, next.map(|start| Place::History { channel, oldest, start }))
            }
            Place::Replies { channel, ts, start } => {
                let messages = self.of(&channel).unwrap_or_default();
                let Some(parent) = messages.iter().find(|message| message.ts == ts) else {
                    return refused("thread_not_found");
                };
                let mut thread = vec![Slack::json(parent)];
                thread.extend(Slack::replies(parent));
                let (messages, next) = page(&thread, start, 50);
                (messages, next.map(|start| Place::Replies { channel, ts, start }))
            }
        };
        let has_more = next.is_some();
        let cursor = next.map(|place| self.places.issue(place)).unwrap_or_default();
        UpstreamReply::ok(
            json!({"ok": true, "messages": messages, "has_more": has_more, "response_metadata": {"next_cursor": cursor}}),
        )
    }
}

impl ExampleApi for Slack {
    fn begin(&mut self, run: usize, now: DateTime<Utc>) -> bool {
        match run {
            0 => {
                self.due =
                    self.channels.iter().flat_map(|(_, messages)| messages.iter().map(Slack::row)).collect()
            }
            1 => {
                let mut due = Vec::new();
                for (name, messages) in &mut self.channels {
                    let last = messages.last().map(|message| message.ts.clone()).unwrap_or_default();
                    let (seconds, micros) = last.split_once('.').unwrap_or_default();
                    let oldest = format!("{}.{micros}", seconds.parse::<i64>().unwrap_or_default() - 86_400);
                    if *name == "C0ONE" {
                        // A reply to a message that was read, and a new message.
                        if let Some(message) = messages.iter_mut().rev().find(|message| message.ts > oldest) {
                            message.replies += 1;
                        }
                        messages.push(Message { ts: ts(now, 7), replies: 2 });
                    }
                    due.extend(messages.iter().filter(|message| message.ts > oldest).map(Slack::row));
                }
                self.due = due;
            }
            2 => self.revoked = true,
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ask: &ReceivedRequest, _now: DateTime<Utc>) -> UpstreamReply {
        if header(ask, "authorization") != format!("Bearer {}", variable("SLACK_BOT_TOKEN")) {
            return refused("not_authed");
        }
        if self.revoked {
            return refused("token_revoked");
        }
        if self.limit.refuses() {
            return json_with(
                429,
                &[("retry-after", "1".to_owned())],
                &json!({"ok": false, "error": "ratelimited"}),
            );
        }
        if self.hiccup.refuses() {
            return refused("internal_error");
        }
        match self.place(ask) {
            Ok(place) => self.list(place),
            Err(refusal) => refusal,
        }
    }

    fn expected(&self, run: usize, started: DateTime<Utc>) -> ExpectedOutcome {
        assert!(started >= self.now - TimeDelta::hours(1));
        match run {
            2 => ExpectedOutcome::nothing().ended("aborted", &["ABORT_WHEN"]),
            _ => ExpectedOutcome::rows("messages", self.due.clone()).partial(&["IGNORED"]),
        }
    }
}
