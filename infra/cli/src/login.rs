//! `gantry login` and `gantry logout`.

use crate::{
    address::Base,
    args::Login,
    ended::Ended,
    error::{About as _, Error},
    hosts::{Host, Hosts},
    screen::Screen,
    session::Session,
    surroundings::{Person, Surroundings},
};
use secrecy::{ExposeSecret as _, SecretString};
use std::{fs, path::Path};

/// The screen comes back: the end is said on it.
type Said = (Screen, Result<Ended, Error>);

/// Checks a key and stores it with its address, which becomes the current one.
pub(crate) async fn login(login: Login, around: Surroundings) -> Said {
    let Surroundings { folder, url, key, no_color, out, err, mut person, look_every, .. } = around;
    let folder = folder.as_deref();
    let is_overridden = url.is_some() || key.is_some();
    let mut screen = Screen::new(out, err, no_color);
    let prepared = prepare(&login, folder, &mut screen, person.as_mut());
    let Prepared { base, mut host, mut is_stored } = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return (screen, Err(error)),
    };
    let address = base.to_string();
    loop {
        let ca_file = host.ca_file.as_deref();
        let session =
            Session::try_key((screen, person), base.clone(), host.key.clone(), ca_file, look_every);
        let mut session = match session {
            Ok(session) => session,
            Err((screen, error)) => return (*screen, Err(error)),
        };
        // Whoever may look at something may look at this.
        let checked = session.get(&["stacks"], &[("limit", "1")]).await;
        (screen, person) = (session.screen, session.person);
        match checked.about(|| format!("log in to {address}")) {
            Ok(_) => break,
            // A stored key that was revoked: another one is typed.
            Err(Error::KeyRejected(_)) if std::mem::take(&mut is_stored) => {
                screen.note("The stored key is not valid any more.");
                match typed(&address, &mut screen, person.as_mut()) {
                    Ok(key) => host.key = key,
                    Err(error) => return (screen, Err(error)),
                }
            }
            Err(Error::KeyRejected(_)) => {
                let why = format!(
                    "That key is not valid for {address}, or it was revoked. Nothing was stored."
                );
                return (screen, Err(Error::KeyRejected(why)));
            }
            Err(error) => return (screen, Err(error)),
        }
    }
    let stored = Hosts::change(folder, |hosts| {
        hosts.current = Some(address.clone());
        hosts.hosts.insert(address.clone(), host);
        Ok(())
    });
    if let Err(error) = stored {
        return (screen, Err(error));
    }
    let words = match is_stored {
        true => format!(
            "Commands talk to {address} now, with the stored key. For another key, run `gantry \
             logout {address}` first."
        ),
        false => format!("Logged in to {address}."),
    };
    let said = screen.result(&words);
    if is_overridden {
        screen.note("GANTRY_URL or GANTRY_KEY is set in the environment and takes precedence.");
    }
    (screen, said.map(|()| Ended::Done))
}

struct Prepared {
    base: Base,
    host: Host,
    /// The key is one that is stored already.
    is_stored: bool,
}

fn prepare(
    login: &Login,
    folder: Option<&Path>,
    screen: &mut Screen,
    person: &mut dyn Person,
) -> Result<Prepared, Error> {
    let hosts = Hosts::load(folder)?;
    let known =
        Base::parse(&login.url, true).ok().and_then(|base| hosts.hosts.get(base.as_str()).cloned());
    let insecure =
        login.reach.insecure_http || known.as_ref().is_some_and(|host| host.insecure_http);
    let base = Base::parse(&login.url, insecure)?;
    let ca_file = match &login.reach.ca_file {
        // Later commands are started in other folders.
        Some(path) => {
            Some(fs::canonicalize(path).map_err(|error| Error::file("read", path, &error))?)
        }
        None => known.as_ref().and_then(|host| host.ca_file.clone()),
    };
    let (key, is_stored) = match (&login.key_file, known) {
        (Some(path), _) => {
            let text = fs::read_to_string(path);
            (read_key(&text.map_err(|error| Error::file("read", path, &error))?)?, false)
        }
        (None, _) if !person.is_there() => {
            let text = person.all().map_err(|error| {
                Error::Failed(format!("Could not read the key from standard input: {error}."))
            })?;
            (read_key(&text)?, false)
        }
        (None, Some(known)) => (known.key, true),
        (None, None) => (typed(base.as_str(), screen, person)?, false),
    };
    let host = Host { key, insecure_http: insecure && !base.is_local(), ca_file };
    Ok(Prepared { base, host, is_stored })
}

fn typed(
    address: &str,
    screen: &mut Screen,
    person: &mut dyn Person,
) -> Result<SecretString, Error> {
    screen.ask(&format!("Access key for {address} (it is not shown):"));
    let key = person
        .hidden()
        .map_err(|error| Error::Failed(format!("Could not read the key: {error}.")))?;
    read_key(&key)
}

fn read_key(text: &str) -> Result<SecretString, Error> {
    let key = text.trim();
    if key.is_empty() {
        return Err(Error::Usage(
            "No key was given. Type it when asked, or use --key-file or standard input.".into(),
        ));
    }
    if key.contains(|c: char| c.is_whitespace() || c.is_control() || !c.is_ascii()) {
        return Err(Error::Usage(
            "That is no access key: it must be one line, without spaces.".into(),
        ));
    }
    Ok(key.into())
}

/// Forgets a key.
pub(crate) fn logout(url: Option<&str>, around: Surroundings) -> Said {
    let given = around.given();
    let folder = around.folder;
    let mut screen = Screen::new(around.out, around.err, around.no_color);
    let forget = |screen: &mut Screen| {
        let (address, current) = Hosts::change(folder.as_deref(), |hosts| {
            let address = hosts.remove(url)?;
            Ok((address, hosts.current.clone()))
        })?;
        let now = match current {
            Some(current) => format!(" Commands talk to {current} now."),
            None => String::new(),
        };
        screen.result(&format!("Logged out of {address}.{now}"))?;
        screen.note("The key itself stays valid until an admin revokes it.");
        if given.key.as_ref().is_some_and(|key| !key.expose_secret().is_empty()) {
            screen.note("GANTRY_KEY is set in the environment and still works.");
        }
        Ok(Ended::Done)
    };
    let result = forget(&mut screen);
    (screen, result)
}
