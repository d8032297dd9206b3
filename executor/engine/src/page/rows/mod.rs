//! The rows of one pass: taken one by one from the answer, each with its sub-steps, into the page's messages in their order.
//!
//! In: an answer that counts, then what comes for the rows' own tries, or the next piece of the body. Out: messages, and at
//! the last row the end of the pass. Held at once are only the rows under way, those that ended out of their turn, and those
//! that wait for their message to fill.

mod deliver;
mod row;
mod walk;

use std::collections::BTreeMap;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::body::RowReader;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::step_state::{RowState, RowsState};
use crate::input::TryId;
use crate::output::CursorChange;
use crate::page::in_flight::InFlightWindow;
use crate::page::writer::{FinishedRow, PageWriter};
use crate::rules::outcome::TryFailure;
use crate::state::context::{Context, ContextChanges};
use crate::state::deferred_writes as carried;
use crate::state::status::StepStatus;
use crate::step::execution::InFlightTry;
use crate::step::response::TryResponse;
use crate::tree::sequence::StepSequence;

/// Bytes of settled rows' cursors that a place holds.
const CARRIED_CURSORS_MAX: usize = 64 * 1024;
/// Bytes of a broken body that its error shows.
const HEAD_MAX: usize = 64 * 1024;

/// A pass whose answer counts.
pub(crate) struct PageRun {
    pub(crate) sent: InFlightTry,
    pub(crate) answer: TryResponse,
    /// The context after the pass's own writes, and those.
    pub(crate) written: Option<(Context, ContextChanges)>,
    pub(crate) extracted: Vec<u8>,
    pub(crate) sheet: PageWriter,
    /// Where rows come from; none: sub-steps run once for the pass.
    pub(crate) source: Option<PageRows>,
    flight: InFlightWindow<RowExecution, FinishedRow>,
    /// What rows wrote that are settled.
    pub(crate) writes: ContextChanges,
    /// How far they read. Saved when the page ends, with the writes: a page that runs again whole begins from the same.
    pub(crate) cursors: Vec<CursorChange>,
    settled: SettledPrefix,
    /// Rows of a checkpoint that are not begun yet.
    resumed: BTreeMap<u64, RowState>,
    /// What sub-steps left that ran once for the pass.
    pub(crate) steps: Vec<u8>,
    /// Rows so far.
    pub(crate) rows: u64,
}

/// A row being run.
pub(crate) struct RowExecution {
    sequence: StepSequence,
    raw: Bytes,
    /// Where a checkpoint had it.
    began_at: Option<Box<RowState>>,
}

/// Where rows come from.
pub(crate) struct PageRows {
    pub(crate) rows: RowReader,
    /// The try whose body comes in pieces.
    pieces: Option<OpenBody>,
    /// Rows that an earlier attempt settled: passed over, if they are the same.
    skip: Option<SkippedPrefix>,
    /// The last piece has come.
    ended: bool,
    /// The last row was taken.
    exhausted: bool,
}

struct OpenBody {
    try_id: TryId,
    asked: bool,
    /// The beginning of the body, for the error that it may end in.
    head: Vec<u8>,
}

impl OpenBody {
    fn new(try_id: TryId) -> OpenBody {
        OpenBody { try_id, asked: false, head: Vec::new() }
    }

    fn take(&mut self, piece: &[u8]) {
        self.asked = false;
        let room = HEAD_MAX.saturating_sub(self.head.len());
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
    }
}

struct SkippedPrefix {
    left: u64,
    place: RowsState,
}

/// Rows whose place is in the next checkpoint.
struct SettledPrefix {
    done: u64,
    hash: Sha256,
}

impl SettledPrefix {
    fn none() -> SettledPrefix {
        SettledPrefix { done: 0, hash: Sha256::new() }
    }

    fn add(&mut self, row: &[u8]) {
        self.done += 1;
        self.hash.update((row.len() as u64).to_be_bytes());
        self.hash.update(row);
    }

    fn hash(&self) -> String {
        hex::encode(&self.hash.clone().finalize()[..16])
    }
}

/// How far a pass came with its rows.
pub(crate) enum PageProgress {
    /// It waits for something.
    Waits(StepStatus),
    /// All rows are done.
    Done,
    /// The rows are others than those that an earlier attempt took: the page begins again.
    Changed,
    /// The body broke off.
    Broken(TryFailure, String),
}

/// The name that a row's place has it by.
fn row_name(row: &[u8]) -> String {
    hex::encode(&Sha256::digest(row)[..8])
}

impl PageRun {
    /// `whole`: with the rows that are not settled, those under way as they are, those that have ended as the last checkpoint
    /// had them.
    pub(crate) fn place(&self, whole: bool) -> Result<Option<RowsState>, CheckpointError> {
        if let Some(PageRows { skip: Some(skip), .. }) = &self.source {
            return Ok(Some(skip.place.clone()));
        }
        let single = self.source.is_none();
        let mut under_way: BTreeMap<u64, RowState> = self.resumed.clone();
        if whole {
            let waiting = (self.settled.done..).zip(self.sheet.waiting());
            for (number, end) in waiting.chain(self.flight.ended()) {
                under_way.extend(end.began_at.iter().map(|place| (number, (**place).clone())));
            }
        }
        for (number, row) in self.flight.under_way() {
            if whole || (single && row.sequence.env.durable) {
                let at = row.sequence.place(whole)?;
                under_way.insert(number, RowState { row_hash: row_name(&row.raw), steps: at });
            }
        }
        if self.settled.done == 0 && under_way.is_empty() {
            return Ok(None);
        }
        Ok(Some(RowsState {
            done: self.settled.done,
            hash: self.settled.hash(),
            chunk: self.sheet.chunk(),
            deferred: carried::encode(
                &self.writes,
                self.carried_cursors().iter().map(|change| (&change.key, &change.json)),
            )?,
            in_flight: under_way,
        }))
    }

    /// The cursors that a place has room for. Without them the rows are read once more by the next run: late, and not lost.
    fn carried_cursors(&self) -> &[CursorChange] {
        let size =
            |change: &CursorChange| change.key.step.len() + change.key.item.len() + change.json.len() + 64;
        if self.cursors.iter().map(size).sum::<usize>() > CARRIED_CURSORS_MAX { &[] } else { &self.cursors }
    }

    /// The try whose body still comes.
    pub(crate) fn open_try(&self) -> Option<TryId> {
        let pieces = self.source.as_ref().filter(|source| !source.ended)?.pieces.as_ref()?;
        Some(pieces.try_id)
    }
}

impl PageRun {
    /// Rows that the checkpoint says were settled.
    fn settled_before(&self) -> usize {
        let skip = self.source.as_ref().and_then(|source| source.skip.as_ref());
        skip.map_or(0, |skip| usize::try_from(skip.place.done).unwrap_or(usize::MAX))
    }

    /// Whether a row that an earlier attempt settled may still be the same.
    fn passed_over(&mut self, row: &[u8]) -> bool {
        let Some(skip) = self.source.as_mut().and_then(|source| source.skip.as_mut()) else { return false };
        if skip.left > 0 {
            self.settled.add(row);
            skip.left -= 1;
        }
        skip.left > 0 || self.settled.hash() == skip.place.hash
    }

    /// Where a checkpoint had this row: by its number, or where the page has moved by what it is.
    fn began_at(&mut self, number: u64, row: &[u8]) -> Option<Box<RowState>> {
        if self.resumed.is_empty() {
            return None;
        }
        let name = row_name(row);
        let same = |place: &RowState| place.row_hash == name;
        let number = match self.resumed.get(&number) {
            Some(place) if same(place) => number,
            Some(_) | None => *self.resumed.iter().find(|(_, place)| same(place))?.0,
        };
        self.resumed.remove(&number).map(Box::new)
    }

    /// The place that was gone to, once all rows before it were passed over.
    fn skipped(&mut self) -> Option<RowsState> {
        let source = self.source.as_mut()?;
        source.skip.take_if(|skip| skip.left == 0).map(|skip| skip.place)
    }
}
