//! Text that waits because it comes faster than it is taken: little of it in memory, more of it in a
//! file without a name, which nobody else can open.

use std::{
    fs::{File, remove_file},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Bytes that wait in memory.
const IN_MEMORY: u64 = 8 << 20;
/// Bytes that come back from the file at once.
const AT_ONCE: u64 = 256 << 10;

/// Where texts wait.
pub(crate) struct Spool {
    /// Where the file is made, once there is one.
    folder: PathBuf,
    /// Bytes that wait in memory now.
    in_memory: AtomicU64,
    written: Mutex<Option<Written>>,
}

/// The file, and how much is in it.
struct Written {
    file: File,
    end: u64,
}

/// A text that waits.
pub(crate) enum Text {
    InMemory(String),
    InFile { at: u64, length: u64 },
}

impl Text {
    /// Takes in the next text, or gives it back: only what is directly behind it, and not too much.
    pub(crate) fn join(&mut self, next: Self) -> Option<Self> {
        match (self, next) {
            (Self::InMemory(text), Self::InMemory(next))
                if (text.len() + next.len()) as u64 <= AT_ONCE =>
            {
                text.push_str(&next);
                None
            }
            (Self::InFile { at, length }, Self::InFile { at: next, length: more })
                if *at + *length == next && *length + more <= AT_ONCE =>
            {
                *length += more;
                None
            }
            (_, next) => Some(next),
        }
    }
}

impl Spool {
    /// One that makes its file in this folder.
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, in_memory: AtomicU64::new(0), written: Mutex::default() }
    }

    /// Keeps a text until it is taken.
    pub(crate) fn put(&self, text: String) -> Text {
        let length = text.len() as u64;
        let waiting = self.in_memory.load(Ordering::Relaxed);
        let has_room = length == 0 || waiting + length <= IN_MEMORY;
        // Where the disk is full, or the folder is not there yet, memory has to do.
        if !has_room && let Ok(at) = self.write(text.as_bytes()) {
            return Text::InFile { at, length };
        }
        self.in_memory.fetch_add(length, Ordering::Relaxed);
        Text::InMemory(text)
    }

    /// Gives a text, or the beginning of a long one and the rest, which is to be taken next.
    pub(crate) fn take(&self, text: Text) -> io::Result<(String, Option<Text>)> {
        let (at, length) = match text {
            Text::InMemory(text) => {
                self.in_memory.fetch_sub(text.len() as u64, Ordering::Relaxed);
                return Ok((text, None));
            }
            Text::InFile { at, length } => (at, length),
        };
        let part = self.read(at, length.min(AT_ONCE))?;
        let taken = part.len() as u64;
        let rest = Text::InFile { at: at + taken, length: length - taken };
        Ok((part, (taken < length).then_some(rest)))
    }

    fn write(&self, text: &[u8]) -> io::Result<u64> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match &mut *written {
            Some(written) => written,
            none => none.insert(Written { file: self.make()?, end: 0 }),
        };
        let at = written.end;
        written.file.write_all_at(text, at)?;
        written.end += text.len() as u64;
        Ok(at)
    }

    /// As much of what is there as ends with a whole character.
    fn read(&self, at: u64, length: u64) -> io::Result<String> {
        let mut part = vec![0; usize::try_from(length).unwrap_or_default()];
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let written = written.as_ref().ok_or(io::ErrorKind::NotFound)?;
        written.file.read_exact_at(&mut part, at)?;
        if let Err(error) = str::from_utf8(&part) {
            part.truncate(error.valid_up_to());
        }
        match String::from_utf8(part) {
            Ok(part) if !part.is_empty() => Ok(part),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn make(&self) -> io::Result<File> {
        let path = self.folder.join("waiting");
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(&path)?;
        // Open, and without a name: nobody else reads what is not masked yet.
        remove_file(&path)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that a text comes to.
    fn whole(spool: &Spool, text: Text) -> String {
        let (mut whole, mut rest) = spool.take(text).unwrap();
        while let Some(next) = rest {
            let (part, more) = spool.take(next).unwrap();
            assert!(part.len() as u64 <= AT_ONCE);
            whole.push_str(&part);
            rest = more;
        }
        whole
    }

    #[test]
    fn little_waits_in_memory_and_much_in_a_file_that_nobody_sees() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path().to_owned());
        let mebibyte = "x".repeat(1 << 20);
        let little: Vec<Text> = (0..8).map(|_| spool.put(mebibyte.clone())).collect();
        assert!(little.iter().all(|text| matches!(text, Text::InMemory(_))));
        // A character of three bytes lies across the end of what is read at once.
        let mut much = spool.put(format!("ab{}", "€".repeat(100_000)));
        assert!(matches!(much, Text::InFile { .. }));
        let more = spool.put("and more".to_owned());
        let mut more = much.join(more).expect("it would be too much");
        let behind = spool.put(", and on".to_owned());
        assert!(more.join(behind).is_none(), "it lies behind it");
        let _between = spool.put("between".to_owned());
        let last = spool.put("last".to_owned());
        assert!(more.join(last).is_some(), "it does not lie behind it");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        for text in little {
            assert_eq!(whole(&spool, text), mebibyte);
        }
        assert_eq!(whole(&spool, much), format!("ab{}", "€".repeat(100_000)));
        assert_eq!(whole(&spool, more), "and more, and on");
        assert!(matches!(spool.put(mebibyte), Text::InMemory(_)), "there is room again");
    }

    #[test]
    fn where_no_file_can_be_made_memory_has_to_do() {
        let spool = Spool::new("/nowhere".into());
        let text = "x".repeat(9 << 20);
        let kept = spool.put(text.clone());
        assert!(matches!(kept, Text::InMemory(_)));
        assert_eq!(whole(&spool, kept), text);
        assert!(spool.take(Text::InFile { at: 0, length: 1 }).is_err());
    }
}
