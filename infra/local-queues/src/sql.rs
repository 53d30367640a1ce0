//! The statements behind [`super::LocalQueues`]. Times are milliseconds since 1970.

use super::{Pick, QueueCounts};
use gantry_queue::{Backlog, Outgoing, QueueName, Received};
use jiff::Timestamp;
use rusqlite::{Connection, Result, Row, params};

/// As long as SQS recognises a deduplication id.
const DEDUP_MILLIS: i64 = 5 * 60 * 1000;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS messages (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    grp TEXT,
    dedup TEXT,
    body TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    visible_at INTEGER NOT NULL,
    receives INTEGER NOT NULL DEFAULT 0,
    waits INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX IF NOT EXISTS by_queue ON messages (queue, seq);
CREATE INDEX IF NOT EXISTS by_group ON messages (queue, grp, visible_at);
CREATE INDEX IF NOT EXISTS by_time ON messages (queue, visible_at);
CREATE INDEX IF NOT EXISTS worn_out ON messages (queue) WHERE receives >= 50;
CREATE TABLE IF NOT EXISTS dedups (
    queue TEXT NOT NULL,
    id TEXT NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (queue, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS dedups_by_time ON dedups (until);
CREATE TABLE IF NOT EXISTS dead (
    seq INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,
    grp TEXT,
    dedup TEXT,
    body TEXT NOT NULL,
    sent_at INTEGER NOT NULL,
    receives INTEGER NOT NULL,
    error TEXT
) STRICT;
";

pub(super) fn prepare(connection: &Connection) -> Result<()> {
    // NORMAL writes through on checkpoints only. What was committed survives the end of the
    // process in any case, because the write-ahead log is in the operating system's hands.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.execute_batch(SCHEMA)?;
    // A file of before.
    let has_waits = "SELECT count(*) FROM pragma_table_info('messages') WHERE name = 'waits'";
    if connection.query_row(has_waits, [], |row| row.get::<_, i64>(0))? == 0 {
        connection
            .execute_batch("ALTER TABLE messages ADD COLUMN waits INTEGER NOT NULL DEFAULT 0")?;
    }
    Ok(())
}

pub(super) fn forget_old_dedups(connection: &Connection, now: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM dedups WHERE until <= ?1")?.execute([now])?;
    Ok(())
}

/// Inserts a message, unless its deduplication id was used within the last five minutes.
pub(super) fn insert(
    connection: &Connection,
    message: &Outgoing,
    now: i64,
    visible_at: i64,
) -> Result<()> {
    let queue = message.queue.as_str();
    if let Some(id) = &message.dedup {
        let new = connection
            .prepare_cached("INSERT OR IGNORE INTO dedups (queue, id, until) VALUES (?1, ?2, ?3)")?
            .execute(params![queue, id, now + DEDUP_MILLIS])?;
        if new == 0 {
            return Ok(());
        }
    }
    connection
        .prepare_cached(
            "INSERT INTO messages (queue, grp, dedup, body, sent_at, visible_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![queue, message.group, message.dedup, message.body, now, visible_at])?;
    Ok(())
}

pub(super) fn receive(
    connection: &Connection,
    queue: QueueName,
    pick: &Pick<'_>,
    max: usize,
    now: i64,
    until: i64,
) -> Result<Vec<Received>> {
    let seqs: Vec<i64> = connection
        .prepare_cached(
            // In order from the front, rather than all that is visible and then sorted.
            "SELECT seq FROM messages AS m INDEXED BY by_queue
             WHERE queue = ?1 AND visible_at <= ?2
               AND (?4 IS NULL OR grp = ?4) AND (?5 IS NULL OR seq = ?5)
               AND (grp IS NULL OR NOT EXISTS (
                   SELECT 1 FROM messages AS other
                   WHERE other.queue = ?1 AND other.grp = m.grp AND other.visible_at > ?2))
             ORDER BY seq LIMIT ?3",
        )?
        .query_map(
            params![
                queue.as_str(),
                now,
                i64::try_from(max).unwrap_or(i64::MAX),
                pick.group,
                pick.message_id.map(seq_of)
            ],
            |row| row.get(0),
        )?
        .collect::<Result<_>>()?;
    let mut update = connection.prepare_cached(
        "UPDATE messages SET receives = receives + 1, visible_at = ?2, waits = 0 WHERE seq = ?1
         RETURNING seq, grp, dedup, body, sent_at, receives",
    )?;
    seqs.into_iter()
        .map(|seq| {
            let mut message = update.query_row(params![seq, until], received)?;
            message.receipt = format!("{seq}.{}", message.receive_count);
            Ok(message)
        })
        .collect()
}

pub(super) fn peek(connection: &Connection, queue: QueueName) -> Result<Vec<Received>> {
    connection
        .prepare_cached(
            "SELECT seq, grp, dedup, body, sent_at, receives FROM messages
             WHERE queue = ?1 ORDER BY seq",
        )?
        .query_map([queue.as_str()], received)?
        .collect()
}

pub(super) fn delete(connection: &Connection, queue: QueueName, receipt: &str) -> Result<()> {
    let (seq, receives) = parts(receipt);
    connection
        .prepare_cached("DELETE FROM messages WHERE seq = ?1 AND receives = ?2 AND queue = ?3")?
        .execute(params![seq, receives, queue.as_str()])?;
    Ok(())
}

pub(super) fn change_visibility(
    connection: &Connection,
    queue: QueueName,
    receipt: &str,
    until: i64,
) -> Result<()> {
    let (seq, receives) = parts(receipt);
    connection
        .prepare_cached(
            "UPDATE messages SET visible_at = ?4, waits = 1
             WHERE seq = ?1 AND receives = ?2 AND queue = ?3",
        )?
        .execute(params![seq, receives, queue.as_str(), until])?;
    Ok(())
}

/// Ends the invisibility of what was received and does not wait, as it was told to; what is only
/// delayed stays so.
pub(super) fn take_back(connection: &Connection, now: i64) -> Result<()> {
    let sql = "UPDATE messages SET visible_at = ?1
               WHERE receives > 0 AND waits = 0 AND visible_at > ?1";
    connection.execute(sql, params![now])?;
    Ok(())
}

/// Copies a message to the dead letters, over an earlier copy of it.
pub(super) fn bury(
    connection: &Connection,
    queue: QueueName,
    message_id: &str,
    error: &str,
) -> Result<()> {
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO dead (seq, queue, grp, dedup, body, sent_at, receives, error)
             SELECT seq, queue, grp, dedup, body, sent_at, receives, ?3 FROM messages
             WHERE seq = ?1 AND queue = ?2",
        )?
        .execute(params![seq_of(message_id), queue.as_str(), error])?;
    Ok(())
}

/// Moves what was received 50 times to the dead letters, as `maxReceiveCount` of the real queues
/// does. It is only a backstop: the driver gives up much earlier.
pub(super) fn bury_worn_out(connection: &Connection, queue: QueueName, now: i64) -> Result<()> {
    let worn_out = "FROM messages WHERE queue = ?1 AND visible_at <= ?2 AND receives >= 50";
    let these = params![queue.as_str(), now];
    let buried = connection
        .prepare_cached(&format!(
            "INSERT OR REPLACE INTO dead (seq, queue, grp, dedup, body, sent_at, receives, error)
             SELECT seq, queue, grp, dedup, body, sent_at, receives, NULL {worn_out}"
        ))?
        .execute(these)?;
    if buried > 0 {
        connection.execute(&format!("DELETE {worn_out}"), these)?;
    }
    Ok(())
}

pub(super) fn dead_letters(
    connection: &Connection,
    queue: QueueName,
) -> Result<Vec<(Received, Option<String>)>> {
    connection
        .prepare_cached(
            "SELECT seq, grp, dedup, body, sent_at, receives, error FROM dead
             WHERE queue = ?1 ORDER BY seq",
        )?
        .query_map([queue.as_str()], |row| Ok((received(row)?, row.get(6)?)))?
        .collect()
}

pub(super) fn count_dead_letters(connection: &Connection, queue: QueueName) -> Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM dead WHERE queue = ?1")?
        .query_row([queue.as_str()], |row| row.get(0))
}

/// Puts dead letters back as new messages. Their deduplication ids have served.
pub(super) fn redrive(connection: &Connection, queue: QueueName, now: i64) -> Result<usize> {
    let count = connection.execute(
        "INSERT INTO messages (queue, grp, dedup, body, sent_at, visible_at)
         SELECT queue, grp, dedup, body, ?2, ?2 FROM dead WHERE queue = ?1 ORDER BY seq",
        params![queue.as_str(), now],
    )?;
    connection.execute("DELETE FROM dead WHERE queue = ?1", [queue.as_str()])?;
    Ok(count)
}

pub(super) fn counts(connection: &Connection, queue: QueueName, now: i64) -> Result<QueueCounts> {
    let number = |sql: &str| -> Result<usize> {
        let count: i64 = connection
            .prepare_cached(sql)?
            .query_row(params![queue.as_str(), now], |row| row.get(0))?;
        Ok(usize::try_from(count).unwrap_or(0))
    };
    Ok(QueueCounts {
        visible: number("SELECT count(*) FROM messages WHERE queue = ?1 AND visible_at <= ?2")?,
        invisible: number("SELECT count(*) FROM messages WHERE queue = ?1 AND visible_at > ?2")?,
        dead: number("SELECT count(*) FROM dead WHERE queue = ?1 AND ?2 IS NOT NULL")?,
    })
}

pub(super) fn backlog(connection: &Connection, queue: QueueName, now: i64) -> Result<Backlog> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE visible_at <= ?2), count(*) FILTER (WHERE visible_at > ?2),
             count(*) FILTER (WHERE receives > 1 OR (receives = 1 AND visible_at <= ?2)),
             min(sent_at) FROM messages WHERE queue = ?1",
        )?
        .query_row(params![queue.as_str(), now], |row| {
            let oldest: Option<i64> = row.get(3)?;
            Ok(Backlog {
                waiting: row.get(0)?,
                in_flight: row.get(1)?,
                failing: Some(row.get(2)?),
                oldest: oldest.and_then(|millis| Timestamp::from_millisecond(millis).ok()),
            })
        })
}

pub(super) fn next_visible_at(
    connection: &Connection,
    queue: QueueName,
    now: i64,
) -> Result<Option<i64>> {
    connection
        .prepare_cached(
            "SELECT min(visible_at) FROM messages WHERE queue = ?1 AND visible_at > ?2",
        )?
        .query_row(params![queue.as_str(), now], |row| row.get(0))
}

fn received(row: &Row<'_>) -> Result<Received> {
    let seq: i64 = row.get(0)?;
    Ok(Received {
        message_id: format!("local-{seq}"),
        receipt: String::new(),
        group: row.get(1)?,
        dedup: row.get(2)?,
        body: row.get(3)?,
        sent_at: Timestamp::from_millisecond(row.get(4)?).ok(),
        receive_count: row.get(5)?,
    })
}

/// The row of a message id; none has -1.
fn seq_of(message_id: &str) -> i64 {
    message_id.strip_prefix("local-").and_then(|seq| seq.parse().ok()).unwrap_or(-1)
}

/// The row and the count of receipts that a receipt is for.
fn parts(receipt: &str) -> (i64, i64) {
    receipt
        .split_once('.')
        .and_then(|(seq, receives)| Some((seq.parse().ok()?, receives.parse().ok()?)))
        .unwrap_or((-1, -1))
}
