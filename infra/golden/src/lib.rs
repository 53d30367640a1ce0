//! Golden samples: what earlier builds wrote, in JSON files. Each is read, written again and
//! compared, and is all that there is of a sample: nothing builds a value by hand.
//!
//! [`Golden::check`] reads a file as a type, and [`Golden::end`] fails with everything that was
//! wrong, each with the file and the line to add. What a reader does with a field that is missing
//! is answered by [`Golden::end`], for a snapshot.

#![expect(clippy::panic, reason = "a test that fails ends here")]

mod compare;
mod trace;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};
use trace::{Place, Seen, read};

/// The samples of a folder.
pub struct Golden {
    /// From the top of the repository, as messages name it.
    folder: &'static str,
    checked: BTreeSet<String>,
    seen: Seen,
    without: BTreeMap<String, BTreeMap<String, String>>,
    problems: Vec<String>,
}

impl Golden {
    /// Those in `folder`, from the top of the repository.
    pub fn of(folder: &'static str) -> Self {
        let seen = Seen::default();
        Self { folder, checked: BTreeSet::new(), seen, without: BTreeMap::new(), problems: vec![] }
    }

    /// The names of all samples.
    ///
    /// # Panics
    /// When the folder cannot be read.
    pub fn names(&self) -> BTreeSet<String> {
        let files = fs::read_dir(from_the_top(self.folder));
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", self.folder));
        let paths = files.flatten().map(|file| file.path());
        let names = paths.filter(|path| path.extension().is_some_and(|end| end == "json"));
        names.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect()
    }

    /// The text of a sample.
    ///
    /// # Panics
    /// When it is not there.
    pub fn text(&self, name: &str) -> String {
        let file = self.file(name);
        fs::read_to_string(from_the_top(&file)).unwrap_or_else(|_| {
            panic!(
                "{file} is missing: write a file with every field of the record, and a value in each"
            )
        })
    }

    /// A sample is read as a `T`, and written again as it was.
    ///
    /// # Panics
    /// When it is not there, or no JSON.
    pub fn check<T: Serialize + DeserializeOwned>(&mut self, name: &str) {
        self.check_part::<T>(name, "");
    }

    /// The same for what stands at a pointer in a sample.
    ///
    /// # Panics
    /// When it is not there, or no JSON.
    pub fn check_part<T: Serialize + DeserializeOwned>(&mut self, name: &str, pointer: &str) {
        let file = self.file(name);
        let sample: Value = serde_json::from_str(&self.text(name))
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        self.checked.insert(name.to_owned());
        let Some(sample) = sample.pointer(pointer) else { panic!("{file} has no {pointer}") };
        let mut places = Vec::new();
        let written = match read::<T>(sample, &mut self.seen, &mut places) {
            Ok(value) => written(&value),
            Err(error) => {
                let help = "a new field needs a default: what was written before is without it";
                return self.problems.push(format!("{file} cannot be read: {error} ({help})"));
            }
        };
        self.problems.extend(compare::differences(&file, pointer, sample, &written));
        for place in places {
            self.take_away::<T>(sample, &written, &place);
        }
    }

    /// What a reader does without each field of a place, and with one that it does not know.
    fn take_away<T: Serialize + DeserializeOwned>(
        &mut self,
        sample: &Value,
        same: &Value,
        place: &Place,
    ) {
        let again = |changed: Value| serde_json::from_value::<T>(changed).map(|it| written(&it));
        let fields = self.without.entry(place.name.clone()).or_default();
        let at = |whole: &Value, field: &str| {
            whole.pointer(&place.pointer).and_then(|place| place.get(field)).cloned()
        };
        for field in place.fields.iter().filter(|field| at(sample, field).is_some()) {
            let without = again(changed(sample, &place.pointer, |fields| {
                fields.remove(field);
            }));
            let found = match without {
                Err(_) => "needed".to_owned(),
                Ok(written) => match at(&written, field) {
                    Some(default) => format!("{default} when it is missing"),
                    None => "left out when it is missing".to_owned(),
                },
            };
            fields.insert(field.clone(), found);
        }
        let with = again(changed(sample, &place.pointer, |fields| {
            fields.insert("of_a_later_version".to_owned(), true.into());
        }));
        let name = &place.name;
        match with {
            Err(_) => {
                fields.insert("(what it does not know)".to_owned(), "refused".to_owned());
            }
            Ok(written) if written == *same => {}
            Ok(_) => self.problems.push(format!("{name} reads a field that it does not know")),
        }
    }

    /// What the readers of all kinds do with fields that are missing, a line a field.
    ///
    /// # Panics
    /// With everything that was wrong with a sample, or that no sample has.
    pub fn end(mut self) -> String {
        for name in self.names().difference(&self.checked) {
            let file = self.file(name);
            self.problems.push(format!("nothing reads {file}: say in the test what it is"));
        }
        self.problems.extend(self.seen.missing(self.folder));
        assert!(self.problems.is_empty(), "\n{}\n", self.problems.join("\n"));
        let lines = self.without.iter().flat_map(|(kind, fields)| {
            fields.iter().map(move |(field, found)| format!("{kind}.{field}: {found}"))
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The names of all structs that were read.
    pub fn structs(&self) -> BTreeSet<&'static str> {
        self.seen.structs()
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}.json", self.folder)
    }
}

fn written(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_else(|error| panic!("it cannot be written: {error}"))
}

fn from_the_top(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The same with other fields at a place.
fn changed(
    sample: &Value,
    pointer: &str,
    change: impl FnOnce(&mut serde_json::Map<String, Value>),
) -> Value {
    let mut sample = sample.clone();
    if let Some(Value::Object(fields)) = sample.pointer_mut(pointer) {
        change(fields);
    }
    sample
}
