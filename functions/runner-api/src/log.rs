//! The log of a run, in pieces. What may be the beginning of a secret is kept, sealed, until the
//! next piece says what it is, or the attempt ends.

use crate::{deps::Deps, refusal::Refusal, token::Holder};
use axum::{Json, extract::State, http::StatusCode};
use gantry_domain::{
    masking::{MaskStream, Masker, Suspended},
    protocol::LogChunk,
    stack::VariableValue,
};
use gantry_secrets::Sealer;
use gantry_store::{
    Expect, Outcome, Stored, Write, keys,
    runner::{LogHeld, LogPiece},
};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

/// How long logs and signs of life are kept.
const KEPT: SignedDuration = SignedDuration::from_hours(60 * 24);
/// Of a piece's text as JSON, in bytes: an item holds at most 400 kB.
const LARGEST_PIECE: usize = 300_000;
/// What is masked and written at once: a transaction holds at most 4 MB, as JSON.
const LARGEST_STEP: usize = 256 << 10;
/// A log that is longer helps nobody.
const LONGEST_LOG: u64 = 256 << 20;
/// How often the log may change under our hands.
const TRIES: u32 = 5;

/// `POST log`.
pub(crate) async fn log(
    State(deps): State<Deps>,
    holder: Holder,
    Json(chunk): Json<LogChunk>,
) -> Result<StatusCode, Refusal> {
    if chunk.offset.saturating_add(chunk.text.len() as u64) > LONGEST_LOG {
        let text = format!("the log is longer than {} MiB", LONGEST_LOG >> 20);
        return Err(Refusal::text(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let wall = deps.wall(&holder).await?;
    let log = Log { deps: &deps, holder: &holder, wall: &wall, sealer: deps.sealer().await? };
    let (mut rest, mut offset) = (chunk.text.as_str(), chunk.offset);
    while !rest.is_empty() {
        let (step, after) = rest.split_at(rest.floor_char_boundary(LARGEST_STEP));
        log.take(offset, step).await?;
        offset += step.len() as u64;
        rest = after;
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Writes what is still held back: nothing comes any more.
pub(crate) async fn end(deps: &Deps, holder: &Holder, wall: &Masker) -> Result<(), Refusal> {
    let log = Log { deps, holder, wall, sealer: deps.sealer().await? };
    for _ in 0..TRIES {
        let Some(there) = log.read().await? else { return Ok(()) };
        let suspended = log.open(&there.value);
        if suspended.held.is_empty() {
            return Ok(());
        }
        let out = MaskStream::resume(wall.clone(), suspended).finish_cut();
        let end = there.value.received;
        if log.write(Some(&there), &out, Suspended::default(), (end, end)).await?
            == Outcome::Written
        {
            return Ok(());
        }
    }
    Err(Refusal::busy())
}

struct Log<'a> {
    deps: &'a Deps,
    holder: &'a Holder,
    wall: &'a Masker,
    sealer: Option<Sealer>,
}

impl Log<'_> {
    /// Takes what comes at this offset of the runner's. What was taken before is left out: a
    /// runner sends again what it is not sure of, with what came since.
    async fn take(&self, offset: u64, text: &str) -> Result<(), Refusal> {
        let end = offset + text.len() as u64;
        for _ in 0..TRIES {
            let there = self.read().await?;
            let received = there.as_ref().map_or(offset, |there| there.value.received);
            if end <= received {
                return Ok(());
            }
            let known = usize::try_from(received.saturating_sub(offset)).unwrap_or(usize::MAX);
            let Some(new) = text.get(known..) else {
                let text = "a different log was sent before";
                return Err(Refusal::text(StatusCode::UNPROCESSABLE_ENTITY, text));
            };
            let mut out = String::new();
            let mut suspended = there.as_ref().map(|there| self.open(&there.value));
            if offset > received
                && let Some(before) = suspended.take()
            {
                // What comes between will never come.
                out = MaskStream::resume(self.wall.clone(), before).finish_cut();
            }
            let suspended = suspended.unwrap_or_default();
            let mut stream = MaskStream::resume(self.wall.clone(), suspended);
            out += &stream.push(new);
            let written = self.write(there.as_ref(), &out, stream.suspend(), (offset, end)).await?;
            if written == Outcome::Written {
                return Ok(());
            }
        }
        Err(Refusal::busy())
    }

    async fn read(&self) -> Result<Option<Stored<LogHeld>>, Refusal> {
        let token = &self.holder.token;
        Ok(self.deps.store.get(&keys::log_held(&token.run, token.attempt)).await?)
    }

    /// What was held back. It is given up where it does not open any more.
    fn open(&self, there: &LogHeld) -> Suspended {
        let held = match &there.held {
            VariableValue::Plain(text) => Some(text.clone()),
            VariableValue::Sealed(sealed) => self.sealer.as_ref().and_then(|sealer| {
                let opened = sealer.open(&self.holder.run.value.stack, &self.sealed_as(), sealed);
                opened.ok().map(|text| text.expose_secret().to_owned())
            }),
        };
        held.map(|held| Suspended { held, open: there.open }).unwrap_or_default()
    }

    fn seal(&self, held: String) -> Result<VariableValue, Refusal> {
        match &self.sealer {
            Some(sealer) if !held.is_empty() => {
                let stack = &self.holder.run.value.stack;
                let sealed = sealer.seal(stack, &self.sealed_as(), &held);
                Ok(VariableValue::Sealed(sealed.map_err(|error| Refusal::trouble(&error))?))
            }
            _ => Ok(VariableValue::Plain(held)),
        }
    }

    fn sealed_as(&self) -> String {
        format!("log of {}", self.holder.token.run)
    }

    /// Writes masked text and how far the log is now, on condition that nobody did meanwhile. What
    /// was taken are the runner's bytes `from` to `received`.
    async fn write(
        &self,
        before: Option<&Stored<LogHeld>>,
        text: &str,
        suspended: Suspended,
        (from, received): (u64, u64),
    ) -> Result<Outcome, Refusal> {
        let token = &self.holder.token;
        let now = self.deps.clock.now();
        let expires = kept_until(now);
        // Where another version of this program began the log, its numbers go on.
        let mut given = before.map_or(from, |before| before.value.given);
        let mut lines = match before {
            Some(before) => before.value.lines,
            None => (from == 0).then_some(0),
        };
        let mut writes = Vec::new();
        for text in pieces(text) {
            let key = keys::log(&token.run, token.attempt, given);
            let (phase, attempt) = (token.phase, token.attempt);
            let (offset, at) = (given, Some(now));
            let piece = LogPiece { phase, attempt, offset, lines, at, text: text.to_owned() };
            writes.push(Write::put(key, Expect::Any, &piece)?.expires(expires));
            given += text.len() as u64;
            lines = lines.map(|lines| lines + text.matches('\n').count() as u64);
        }
        let open = suspended.open;
        let held = LogHeld { received, given, held: self.seal(suspended.held)?, open, lines };
        let key = keys::log_held(&token.run, token.attempt);
        let expect = before.map_or(Expect::Absent, Stored::unchanged);
        writes.push(Write::put(key, expect, &held)?.expires(expires));
        Ok(self.deps.store.write(writes).await?)
    }
}

pub(crate) fn kept_until(now: Timestamp) -> Timestamp {
    now.saturating_add(KEPT).unwrap_or(now)
}

/// Cuts a text into pieces that fit an item. The same beginning is always cut at the same places.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let mut cost = 0;
        let end = rest
            .char_indices()
            .find(|(_, c)| {
                cost += match c {
                    '"' | '\\' => 2,
                    c if c.is_control() => 6,
                    c => c.len_utf8(),
                };
                cost > LARGEST_PIECE
            })
            .map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_an_item_and_lose_nothing() {
        let text = "\u{1b}[31mé\"\n".repeat(40_000);
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.len() > 1);
        assert_eq!(cut.concat(), text);
        for piece in &cut {
            assert!(serde_json::to_string(piece).unwrap().len() <= LARGEST_PIECE + 2);
        }
        let longer: Vec<&str> = pieces(&text[..text.len() - 10]).collect();
        assert_eq!(cut[0], longer[0], "cut at the same places");
        assert_eq!(pieces("").count(), 0);
    }
}
