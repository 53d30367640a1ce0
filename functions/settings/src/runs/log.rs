//! A run's log: masked text, piece by piece, as runners sent it. It can be hundreds of MiB long:
//! whatever reads it reads a part, and says where to go on.

use crate::{
    app::App,
    cursor,
    form::Params,
    refusal::{Answer, Refusal},
    runs,
};
use axum::{
    Json,
    extract::{Path, State},
    response::IntoResponse,
};
use gantry_domain::{
    RunId,
    run::{Phase, Run, RunState},
    text,
};
use gantry_store::{Key, keys, runner::LogPiece};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Bytes of text after which an answer ends: Lambda answers at most 6 MB, and JSON makes some
/// characters longer.
const ENOUGH: usize = 1024 * 1024;
/// Pieces that one read brings: each has up to 300 kB.
const A_READ: i32 = 10;
/// Lines that an answer has which goes backwards.
const LINES_BEFORE: usize = 1000;
/// Bytes that one search looks through before it answers where to go on.
const SEARCHED: usize = 64 << 20;
/// Lines that one search finds before it answers where to go on.
const MOST_FOUND: usize = 100;
/// What is looked for has at most so many characters.
const LONGEST_WANTED: usize = 200;
/// A line that is longer is looked through in parts of this many bytes, which overlap.
const LONGEST_LINE: usize = 64 << 10;
const OVERLAP: usize = 4 << 10;
/// Characters of a line that was found, and of them before what was looked for.
const SHOWN: usize = 300;
const SHOWN_BEFORE: usize = 60;

/// Where to go on, or what to look for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub(crate) struct LogQuery {
    /// The `next` of the previous part, or of the previous search.
    after: Option<String>,
    /// The `previous` of a part, or `end`, to read what comes before. Not with `after` or `find`.
    before: Option<String>,
    /// A text to search for, ignoring case. The response has `matches`, and `next` if the search
    /// stopped early: after 100 lines, or 64 MiB.
    #[schemars(length(min = 1, max = LONGEST_WANTED))]
    find: Option<String>,
}

/// A part of a log.
#[derive(Serialize, JsonSchema)]
pub(crate) struct LogPart {
    /// What was sent, in order.
    pub(crate) pieces: Vec<Piece>,
    /// It begins with a line's beginning, as far as that shows.
    #[serde(skip)]
    pub(crate) begins: bool,
    /// The `before` of what comes before this part; absent at the beginning of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<String>,
    /// The matching lines; only with `find`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matches: Option<Vec<Match>>,
    /// The `after` of the next request. There may be more later.
    pub(crate) next: Option<String>,
    /// More is already available.
    pub(crate) more: bool,
    /// The run has ended, and its log is complete.
    pub(crate) ended: bool,
}

/// What a runner sent at once, or the end or beginning of that.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogPiece")]
pub(crate) struct Piece {
    /// The phase that wrote it.
    pub(crate) phase: Phase,
    /// The attempt that wrote it.
    attempt: u32,
    /// Bytes of this attempt's log before it.
    offset: u64,
    /// When Gantry received it; absent if that was not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Timestamp>,
    /// Line breaks of this attempt's log before it, where somebody counted.
    #[serde(skip)]
    lines: Option<u64>,
    /// Masked.
    pub(crate) text: String,
}

impl Piece {
    /// The place of its first character, or of one that comes so many bytes later.
    pub(crate) fn place(&self, bytes: usize) -> LogPlace {
        LogPlace { attempt: self.attempt, offset: self.offset + bytes as u64 }
    }

    /// The cursor of the place where it ends.
    pub(crate) fn end(&self, run: &RunId) -> String {
        let offset = self.offset + self.text.len() as u64;
        LogPlace { attempt: self.attempt, offset }.cursor(run)
    }
}

/// A matching line.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "LogMatch")]
pub(crate) struct Match {
    /// Its number in the whole log, starting at 1.
    #[schemars(range(min = 1))]
    pub(crate) line: u64,
    /// The phase that wrote it.
    phase: Phase,
    /// The attempt that wrote it.
    attempt: u32,
    /// Where the line begins. The run's page shows it with `?at=`.
    pub(crate) at: String,
    /// The line, or a part of it. Masked.
    pub(crate) text: String,
}

impl From<LogPiece> for Piece {
    fn from(piece: LogPiece) -> Self {
        let lines = breaks_before(&piece);
        let LogPiece { phase, attempt, offset, at, text, .. } = piece;
        Self { phase, attempt, offset, at, lines, text }
    }
}

/// Line breaks of an attempt's log before a piece. A log begins with its first line, whoever wrote
/// it.
fn breaks_before(piece: &LogPiece) -> Option<u64> {
    piece.lines.or((piece.offset == 0).then_some(0))
}

fn breaks(text: &str) -> u64 {
    text.matches('\n').count() as u64
}

/// Leaves out the beginning of a piece.
fn leave_out(piece: &mut LogPiece, bytes: usize) {
    let lines = breaks_before(piece);
    let before: String = piece.text.drain(..bytes).collect();
    piece.offset += before.len() as u64;
    piece.lines = lines.map(|lines| lines + breaks(&before));
}

impl LogQuery {
    /// What comes after a part.
    pub(crate) fn after(after: Option<String>) -> Self {
        Self { after, ..Self::default() }
    }

    /// The cursor of the piece that the part comes after.
    pub(crate) fn cursor(&self) -> Option<&str> {
        self.after.as_deref()
    }
}

/// A place in a log: between two characters of an attempt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPlace {
    attempt: u32,
    offset: u64,
}

impl LogPlace {
    /// Reads what [`Self::cursor`] wrote.
    pub(crate) fn read(cursor: &str, field: &str) -> Answer<Self> {
        let place = Self::parts(cursor, field)?;
        place
            .filter(|(_, line)| line.is_none())
            .map(|(place, _)| place)
            .ok_or_else(|| cursor::strange(field))
    }

    /// The place that a search goes on from, and the number of its line.
    fn with_line(cursor: &str, field: &str) -> Answer<(Self, u64)> {
        let place = Self::parts(cursor, field)?;
        place.and_then(|(place, line)| Some((place, line?))).ok_or_else(|| cursor::strange(field))
    }

    /// A place, and the line's number where the cursor has one.
    fn parts(cursor: &str, field: &str) -> Answer<Option<(Self, Option<u64>)>> {
        let key = cursor::to_key(cursor, field)?;
        let parts: Option<Vec<u64>> = key.split('#').map(|part| part.parse().ok()).collect();
        let (attempt, offset, line) = match parts.as_deref() {
            // Longer numbers would not sort as they should.
            Some([attempt @ ..1_000_000, offset @ ..1_000_000_000_000, line @ ..]) => {
                (u32::try_from(*attempt).unwrap_or_default(), *offset, line)
            }
            _ => return Ok(None),
        };
        Ok((line.len() <= 1).then(|| (Self { attempt, offset }, line.first().copied())))
    }

    /// Where a piece begins.
    fn of(piece: &LogPiece) -> Self {
        Self { attempt: piece.attempt, offset: piece.offset }
    }

    /// The attempt that it is in the log of.
    pub(crate) fn attempt(self) -> u32 {
        self.attempt
    }

    fn key(self, run: &RunId) -> String {
        keys::log(run, self.attempt, self.offset).sk
    }

    /// Its form in addresses.
    pub(crate) fn cursor(self, run: &RunId) -> String {
        cursor::from_key(&self.key(run))
    }
}

/// `GET /api/v1/runs/{id}/log?after=&before=&find=`
pub(crate) async fn log(
    State(app): State<App>,
    Path(id): Path<String>,
    Params(query): Params<LogQuery>,
) -> Answer<impl IntoResponse> {
    let run = runs::find(&app, &id).await?;
    part(&app, &run, &query).await.map(Json)
}

/// The part of a run's log that the query asks for.
pub(crate) async fn part(app: &App, run: &Run, query: &LogQuery) -> Answer<LogPart> {
    let ended = run.state.is_final();
    let part = LogPart {
        pieces: Vec::new(),
        begins: true,
        previous: None,
        matches: None,
        next: None,
        more: false,
        ended,
    };
    match (&query.find, &query.before, &query.after) {
        (Some(wanted), None, after) => {
            let Found { matches, next } = find(app, &run.id, wanted, after.as_deref()).await?;
            Ok(LogPart { matches: Some(matches), more: next.is_some(), next, ..part })
        }
        (None, Some(before), None) => {
            let place = match before.as_str() {
                "end" => None,
                before => Some(LogPlace::read(before, "before")?),
            };
            let Stretch { pieces, begins, previous, next } =
                self::before(app, &run.id, place, LINES_BEFORE).await?;
            Ok(LogPart { pieces, begins, previous, next, ..part })
        }
        (None, None, after) => {
            let after = after.as_deref().map(|at| cursor::to_key(at, "after")).transpose()?;
            let (pieces, last, more) = Reading::after(app, &run.id, after).take(usize::MAX).await?;
            Ok(LogPart { pieces, next: last, more, ..part })
        }
        _ => Err(Refusal::parameter("before", "Cannot be combined with after or find")),
    }
}

/// A log from a place on, piece by piece.
pub(crate) struct Reading<'a> {
    app: &'a App,
    run: &'a RunId,
    read: VecDeque<LogPiece>,
    /// The sort key of the last piece that was read.
    after: Option<String>,
    is_over: bool,
}

impl<'a> Reading<'a> {
    /// From the piece on that comes after one.
    fn after(app: &'a App, run: &'a RunId, after: Option<String>) -> Self {
        Self { app, run, read: VecDeque::new(), after, is_over: false }
    }

    /// From a place on.
    pub(crate) async fn at(app: &'a App, run: &'a RunId, place: LogPlace) -> Answer<Self> {
        let behind = LogPlace { offset: place.offset + 1, ..place }.key(run);
        let mut reading = Self::after(app, run, Some(place.key(run)));
        let partition = keys::log_partition(run);
        let page = app.store.query::<LogPiece>(&partition, "", Some(&behind), true, 1).await?;
        // The piece that has the place may have begun before it.
        for piece in page.items {
            let mut piece = piece.value;
            let before = usize::try_from(place.offset.saturating_sub(piece.offset));
            let cut = piece.text.floor_char_boundary(before.unwrap_or(usize::MAX));
            if piece.attempt == place.attempt && cut < piece.text.len() {
                leave_out(&mut piece, cut);
                reading.read.push_back(piece);
            }
        }
        Ok(reading)
    }

    async fn next(&mut self) -> Answer<Option<LogPiece>> {
        while self.read.is_empty() && !self.is_over {
            let after = self.after.as_deref();
            let partition = keys::log_partition(self.run);
            let store = &self.app.store;
            let page = store.query::<LogPiece>(&partition, "", after, false, A_READ).await?;
            self.is_over = page.next.is_none();
            for piece in page.items {
                self.after = Some(piece.key.sk);
                self.read.push_back(piece.value);
            }
        }
        Ok(self.read.pop_front())
    }

    /// Pieces until they have `lines` lines, or are enough for one answer; the cursor of the last
    /// one, and whether there may be more.
    pub(crate) async fn take(
        &mut self,
        lines: usize,
    ) -> Answer<(Vec<Piece>, Option<String>, bool)> {
        let mut pieces = Vec::new();
        let mut last = self.after.as_deref().map(cursor::from_key);
        let (mut size, mut seen) = (0, 0);
        while let Some(piece) = self.next().await? {
            size += piece.text.len();
            seen += piece.text.matches('\n').count();
            last = Some(LogPlace::of(&piece).cursor(self.run));
            pieces.push(piece.into());
            if size >= ENOUGH || seen >= lines {
                return Ok((pieces, last, true));
            }
        }
        Ok((pieces, last, false))
    }
}

/// A part of a log that was read backwards.
pub(crate) struct Stretch {
    pub(crate) pieces: Vec<Piece>,
    /// It begins with a line's beginning.
    pub(crate) begins: bool,
    /// The cursor of its beginning, when there is more before it.
    pub(crate) previous: Option<String>,
    /// The cursor of its last piece.
    pub(crate) next: Option<String>,
}

/// The last `lines` lines of a log, or those before a place.
pub(crate) async fn before(
    app: &App,
    run: &RunId,
    place: Option<LogPlace>,
    lines: usize,
) -> Answer<Stretch> {
    let partition = keys::log_partition(run);
    let mut behind = place.map(|place| place.key(run));
    let mut pieces: VecDeque<LogPiece> = VecDeque::new();
    let (mut size, mut breaks, mut is_begin) = (0, 0, false);
    while !is_begin && size < ENOUGH && breaks <= lines {
        let page =
            app.store.query::<LogPiece>(&partition, "", behind.as_deref(), true, A_READ).await?;
        is_begin = page.next.is_none();
        for piece in page.items {
            behind = Some(piece.key.sk);
            let mut piece = piece.value;
            if let Some(place) = place.filter(|place| place.attempt == piece.attempt) {
                // The piece may go on behind the place.
                let before = usize::try_from(place.offset.saturating_sub(piece.offset));
                let cut = piece.text.floor_char_boundary(before.unwrap_or(usize::MAX));
                piece.text.truncate(cut);
            }
            size += piece.text.len();
            breaks += piece.text.matches('\n').count();
            pieces.push_front(piece);
            if size >= ENOUGH || breaks > lines {
                is_begin = false;
                break;
            }
        }
    }
    let next = pieces.back().map(|piece| LogPlace::of(piece).cursor(run));
    // The break that ends the last line begins none.
    let ends = pieces.back().is_some_and(|piece| piece.text.ends_with('\n'));
    let wanted = lines + usize::from(ends);
    let mut seen = 0;
    let mut begins = is_begin;
    for at in (0..pieces.len()).rev() {
        let text = &pieces[at].text;
        let mut from_end = text.rmatch_indices('\n').skip(wanted.saturating_sub(seen + 1));
        if let Some((last, _)) = from_end.next() {
            let begin = last + 1;
            pieces.drain(..at);
            leave_out(&mut pieces[0], begin);
            is_begin = false;
            begins = true;
            break;
        }
        seen += text.matches('\n').count();
    }
    let previous =
        pieces.front().filter(|_| !is_begin).map(|piece| LogPlace::of(piece).cursor(run));
    let pieces = pieces.into_iter().filter(|piece| !piece.text.is_empty());
    Ok(Stretch { pieces: pieces.map(Piece::from).collect(), begins, previous, next })
}

/// The number of the line that a piece begins in, in the whole log; none where nobody counted.
pub(crate) async fn line_number(app: &App, run: &RunId, piece: &Piece) -> Answer<Option<u64>> {
    let Some(mut before) = piece.lines else { return Ok(None) };
    let partition = keys::log_partition(run);
    let mut attempt = piece.attempt;
    // The first attempt has none before it.
    while attempt > 1 {
        let begin = keys::log(run, attempt, 0).sk;
        let page = app.store.query::<LogPiece>(&partition, "", Some(&begin), true, 1).await?;
        let Some(last) = page.items.into_iter().next().map(|piece| piece.value) else { break };
        let Some(lines) = breaks_before(&last) else { return Ok(None) };
        before += lines + breaks(&last.text);
        attempt = last.attempt;
    }
    Ok(Some(before + 1))
}

/// What comes after a cursor of a piece begins a line.
pub(crate) async fn ends_line(app: &App, run: &RunId, cursor: &str) -> Answer<bool> {
    let key = Key::new(keys::log_partition(run), cursor::to_key(cursor, "after")?);
    let piece = app.store.get::<LogPiece>(&key).await?;
    Ok(piece.is_none_or(|piece| piece.value.text.ends_with('\n')))
}

/// A part of a log: what a command of the tool wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Section {
    Init,
    Plan,
    /// The apply of a confirmed plan has an init of its own.
    ApplyInit,
    Apply,
    Destroy,
}

impl Section {
    /// Its word in addresses.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Plan => "plan",
            Self::ApplyInit => "apply_init",
            Self::Apply => "apply",
            Self::Destroy => "destroy",
        }
    }

    /// What people call it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Init => "Init",
            Self::Plan => "Plan",
            Self::ApplyInit => "Init for the apply",
            Self::Apply => "Apply",
            Self::Destroy => "Destroy",
        }
    }

    /// The sections of what runs in a state, in the order in which they begin.
    pub(crate) fn of(state: RunState, phase: Phase) -> &'static [Self] {
        match (state, phase) {
            (RunState::Initializing, _) => &[Self::Init],
            (RunState::Planning, _) => &[Self::Plan],
            (RunState::Applying, Phase::Plan) => &[Self::Apply],
            (RunState::Applying, Phase::Apply) => &[Self::ApplyInit, Self::Apply],
            (RunState::Destroying, _) => &[Self::Destroy],
            _ => &[],
        }
    }

    /// The section that a line of a phase begins: the runner's own, before it starts a command of
    /// the tool.
    pub(crate) fn begun_by(line: &str, phase: Phase) -> Option<Self> {
        // Most lines are told from it by one look.
        if !line.contains(" $ ") {
            return None;
        }
        let line = text::clean(line);
        let mut words = line.strip_prefix("gantry: $ ")?.split_whitespace();
        if !matches!(words.next()?, "terraform" | "tofu") {
            return None;
        }
        Some(match words.next()? {
            "init" if phase == Phase::Apply => Self::ApplyInit,
            "init" => Self::Init,
            "plan" if words.any(|word| word == "-destroy") => Self::Destroy,
            "plan" => Self::Plan,
            "apply" => Self::Apply,
            _ => return None,
        })
    }
}

/// Where a section of a log begins, if that is found.
pub(crate) async fn find_section(
    app: &App,
    run: &RunId,
    section: Section,
) -> Answer<Option<LogPlace>> {
    let begin = LogPlace { attempt: 0, offset: 0 };
    let found = search(app, run, Wanted::Section(section), (begin, 1), 1).await?;
    found.matches.first().map(|found| LogPlace::read(&found.at, "section")).transpose()
}

/// What is looked for.
enum Wanted {
    /// A text, in lower case.
    Text(String),
    /// The line that begins a section.
    Section(Section),
}

impl Wanted {
    /// Where it is in a line of a phase.
    fn is_at(&self, line: &str, phase: Phase) -> Option<usize> {
        match self {
            Self::Text(text) => line.to_lowercase().find(text),
            Self::Section(section) => {
                (Section::begun_by(line, phase) == Some(*section)).then_some(0)
            }
        }
    }
}

/// Lines that have what was looked for.
pub(crate) struct Found {
    pub(crate) matches: Vec<Match>,
    /// The `after` of the next search, where this one did not come to the end.
    pub(crate) next: Option<String>,
}

/// Looks for a text in a run's log, whatever its case and colours. Reads it once, from the
/// beginning or from where a search ended.
pub(crate) async fn find(
    app: &App,
    run: &RunId,
    wanted: &str,
    after: Option<&str>,
) -> Answer<Found> {
    let wanted = wanted.trim().to_lowercase();
    if wanted.is_empty() || wanted.chars().count() > LONGEST_WANTED {
        let problem = format!("Must be a text of 1 to {LONGEST_WANTED} characters");
        return Err(Refusal::parameter("find", problem));
    }
    let begin = match after {
        Some(after) => LogPlace::with_line(after, "after")?,
        None => (LogPlace { attempt: 0, offset: 0 }, 1),
    };
    search(app, run, Wanted::Text(wanted), begin, MOST_FOUND).await
}

async fn search(
    app: &App,
    run: &RunId,
    wanted: Wanted,
    (begin, number): (LogPlace, u64),
    most: usize,
) -> Answer<Found> {
    let mut reading = Reading::at(app, run, begin).await?;
    let mut search = Search {
        wanted,
        from: begin,
        number,
        line: String::new(),
        begin: None,
        is_found: false,
        matches: Vec::new(),
    };
    let mut size = 0;
    while let Some(piece) = reading.next().await? {
        size += piece.text.len();
        let mut place = LogPlace::of(&piece);
        for part in piece.text.split_inclusive('\n') {
            search.take(part, place, piece.phase, run);
            place.offset += part.len() as u64;
            if search.matches.len() == most && part.ends_with('\n') {
                return Ok(search.until(place, run));
            }
        }
        if size >= SEARCHED {
            return Ok(search.until(place, run));
        }
    }
    search.look(run);
    Ok(Found { matches: search.matches, next: None })
}

/// A search, as far as it came.
struct Search {
    wanted: Wanted,
    /// Where it began.
    from: LogPlace,
    /// The number of the line that is read.
    number: u64,
    /// What of it is not looked through yet.
    line: String,
    begin: Option<(LogPlace, Phase)>,
    /// The line was found already.
    is_found: bool,
    matches: Vec<Match>,
}

impl Search {
    fn take(&mut self, part: &str, place: LogPlace, phase: Phase, run: &RunId) {
        self.begin.get_or_insert((place, phase));
        self.line.push_str(part);
        if part.ends_with('\n') {
            self.look(run);
            self.number += 1;
            self.line.clear();
            self.begin = None;
            self.is_found = false;
        } else if self.line.len() > LONGEST_LINE {
            self.look(run);
            let kept = self.line.ceil_char_boundary(self.line.len() - OVERLAP);
            self.line.drain(..kept);
        }
    }

    /// Looks through what is there of the line.
    fn look(&mut self, run: &RunId) {
        let Some((place, phase)) = self.begin.filter(|_| !self.is_found) else { return };
        let line = text::clean(&self.line);
        let Some(at) = self.wanted.is_at(&line, phase) else { return };
        self.is_found = true;
        let at = line.get(..at).map_or(0, |before| before.chars().count());
        let from = at.saturating_sub(SHOWN_BEFORE);
        let shown: String = line.chars().skip(from).take(SHOWN + 1).collect();
        let cut = if from > 0 { "…" } else { "" };
        self.matches.push(Match {
            line: self.number,
            phase,
            attempt: place.attempt,
            at: place.cursor(run),
            text: format!("{cut}{}", text::clean_line(&shown, SHOWN)),
        });
    }

    /// Ends before the end of the log. The next search begins with the line that is not read to its
    /// end, or in the middle of one that is longer than this search.
    fn until(mut self, place: LogPlace, run: &RunId) -> Found {
        let begin = match self.begin {
            Some((begin, _)) if begin != self.from => {
                if self.is_found {
                    self.matches.pop();
                }
                begin
            }
            _ => place,
        };
        let next = Some(cursor::from_key(&format!("{}#{}", begin.key(run), self.number)));
        Found { matches: self.matches, next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_tool_begins_a_section() {
        let of_phase = |line: &str, phase| {
            Section::begun_by(&format!("\u{1b}[36mgantry:\u{1b}[0m {line}\n"), phase)
        };
        let begun = |line: &str| of_phase(line, Phase::Plan);
        assert_eq!(begun("$ terraform init -input=false"), Some(Section::Init));
        let init = of_phase("$ terraform init -input=false", Phase::Apply);
        assert_eq!(init, Some(Section::ApplyInit));
        assert_eq!(begun("$ tofu plan -out=plan"), Some(Section::Plan));
        assert_eq!(begun("$ tofu apply -input=false plan"), Some(Section::Apply));
        assert_eq!(begun("$ tofu plan -input=false -destroy -out=x"), Some(Section::Destroy));
        assert_eq!(begun("$ terraform show plan"), None);
        assert_eq!(begun("before_plan: echo $ terraform plan"), None);
        assert_eq!(Section::begun_by("$ terraform plan", Phase::Plan), None);
    }
}
