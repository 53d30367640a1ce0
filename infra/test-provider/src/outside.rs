//! What exists outside of any state: a folder with a JSON file for each object.

use crate::{
    protocol::Nesting,
    schema,
    value::{self, Object},
};
use anyhow::{Context as _, Result, bail, ensure};
use rmpv::Value;
use serde_json::{Map, Value as Json};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

/// The folder that the provider's configuration names.
#[derive(Clone)]
pub(crate) struct Outside(PathBuf);

impl Outside {
    /// Makes the folder where there is none.
    pub(crate) fn new(folder: &str) -> Result<Self> {
        let folder = PathBuf::from(folder);
        ensure!(folder.is_absolute(), "the folder of the objects must be an absolute path");
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Takes the first free id of a name: `web-1`, then `web-2`.
    pub(crate) fn create(&self, name: &str) -> Result<String> {
        plain(name)?;
        for number in 1.. {
            let id = format!("{name}-{number}");
            match File::create_new(self.file(&id)) {
                Ok(_) => return Ok(id),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(format!("cannot make the object {id}")),
            }
        }
        bail!("no id is left for {name}")
    }

    /// The object as it is; none where it was deleted.
    pub(crate) fn read(&self, id: &str) -> Result<Option<Object>> {
        plain(id)?;
        let text = match fs::read(self.file(id)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(format!("cannot read the object {id}")),
        };
        let json: Map<String, Json> = serde_json::from_slice(&text)
            .with_context(|| format!("the object {id} is no JSON object"))?;
        let is = |name: &str| json.get(name).map(value::of_json);
        let block = schema::resource();
        let mut object = Object::new();
        for attribute in block.attributes {
            let value = is(&attribute.name).filter(|_| !attribute.write_only);
            object.insert(attribute.name, value.unwrap_or(Value::Nil));
        }
        for block in block.block_types {
            let none = match block.nesting() {
                Nesting::Single => Value::Nil,
                _ => Value::Array(Vec::new()),
            };
            let value = is(&block.type_name).unwrap_or(none);
            object.insert(block.type_name, value);
        }
        Ok(Some(object))
    }

    /// Writes the object, with the write-only value that no state ever has.
    pub(crate) fn write(&self, id: &str, object: &Object, write_only: &Value) -> Result<()> {
        plain(id)?;
        let mut json: Map<String, Json> =
            object.iter().map(|(name, value)| (name.clone(), value::to_json(value))).collect();
        json.insert("write_only".to_owned(), value::to_json(write_only));
        let mut text = serde_json::to_string_pretty(&json)?;
        text.push('\n');
        let new = self.0.join(format!("{id}.new"));
        fs::write(&new, text)?;
        fs::rename(new, self.file(id)).with_context(|| format!("cannot write the object {id}"))
    }

    /// Deletes the object; it may be gone already.
    pub(crate) fn delete(&self, id: &str) -> Result<()> {
        plain(id)?;
        match fs::remove_file(self.file(id)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context(format!("cannot delete the object {id}"))
            }
            _ => Ok(()),
        }
    }

    /// Adds a line to the notes that actions leave.
    pub(crate) fn note(&self, text: &str) -> Result<()> {
        let mut notes = OpenOptions::new().create(true).append(true).open(self.0.join("notes"))?;
        writeln!(notes, "{text}").context("cannot write the note")
    }

    fn file(&self, id: &str) -> PathBuf {
        Path::new(&self.0).join(format!("{id}.json"))
    }
}

/// Names become files' names.
pub(crate) fn plain(name: &str) -> Result<()> {
    let is = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    ensure!(
        !name.is_empty() && name.chars().all(is),
        "{name:?} cannot be an object's name: only a-z, 0-9 and - can be in it"
    );
    Ok(())
}
