//! What somebody typed into a form that was not carried out, handed back to them to be sent again:
//! sealed, so that no page has it in clear text.
//!
//! Nothing of it is stored. It opens until its time is over, and only where it was sealed for:
//! never as the value of a variable, and no variable's sealed value opens here.

use crate::{SealError, Sealer};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;

/// Seals for one place: a session and a form, say, as texts that nobody else's place has.
#[derive(Clone)]
pub struct HandedBack {
    sealer: Sealer,
    place: Vec<String>,
}

impl HandedBack {
    /// What is handed back at this place.
    pub fn at(sealer: &Sealer, place: &[&str]) -> Self {
        let place = place.iter().map(|part| (*part).to_owned()).collect();
        Self { sealer: sealer.clone(), place }
    }

    /// Seals the text of a field.
    pub fn seal(
        &self,
        field: &str,
        text: &str,
        now: Timestamp,
        lasts: SignedDuration,
    ) -> Result<String, SealError> {
        let expires = (now + lasts).as_second();
        let sealed = self.sealer.encrypt(text, &self.bound_to(expires, field))?;
        Ok(format!("{expires}.{sealed}"))
    }

    /// The text of the field, where it was sealed at this place and its time is not over.
    pub fn open(
        &self,
        field: &str,
        sealed: &str,
        now: Timestamp,
    ) -> Result<SecretString, SealError> {
        let (expires, sealed) = sealed.split_once('.').ok_or(SealError)?;
        let expires: i64 = expires.parse().map_err(|_| SealError)?;
        if now.as_second() >= expires {
            return Err(SealError);
        }
        self.sealer.decrypt(sealed, &self.bound_to(expires, field))
    }

    /// Begins unlike what the values of variables are bound to: with a word, and no number.
    fn bound_to(&self, expires: i64, field: &str) -> Vec<u8> {
        let mut bound = format!("handed back\n{expires}");
        for part in self.place.iter().map(String::as_str).chain([field]) {
            bound.push_str(&format!("\n{}\n{part}", part.len()));
        }
        bound.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_domain::StackId;
    use secrecy::ExposeSecret as _;

    const LASTS: SignedDuration = SignedDuration::from_mins(30);

    #[test]
    fn a_text_comes_back_only_where_and_while_it_may() {
        let sealer = Sealer::new(&"key".into());
        let now = Timestamp::from_second(1_000).unwrap();
        let here = HandedBack::at(&sealer, &["session", "stacks/a/edit"]);
        let sealed = here.seal("v[0]", "hush", now, LASTS).unwrap();
        assert!(!sealed.contains("hush"));
        assert_eq!(here.open("v[0]", &sealed, now).unwrap().expose_secret(), "hush");
        let last = now + LASTS - SignedDuration::from_secs(1);
        assert!(here.open("v[0]", &sealed, last).is_ok());
        assert!(here.open("v[0]", &sealed, now + LASTS).is_err(), "its time is over");
        let (_, body) = sealed.split_once('.').unwrap();
        assert!(here.open("v[0]", &format!("9999999999.{body}"), now).is_err(), "a longer time");
        assert!(here.open("v[1]", &sealed, now).is_err());
        assert!(here.open("v[0]", body, now).is_err());
        for place in [
            &["session", "stacks/b/edit"][..],
            &["other", "stacks/a/edit"],
            &["session"],
            &["session\n13\nstacks/a/edit"],
            &["session", "stacks/a/edit", ""],
        ] {
            let there = HandedBack::at(&sealer, place);
            assert!(there.open("v[0]", &sealed, now).is_err(), "{place:?}");
        }
        let elsewhere =
            HandedBack::at(&Sealer::new(&"other".into()), &["session", "stacks/a/edit"]);
        assert!(elsewhere.open("v[0]", &sealed, now).is_err());
    }

    #[test]
    fn what_is_kept_for_a_variable_is_not_handed_back_nor_the_other_way_round() {
        let sealer = Sealer::new(&"key".into());
        let now = Timestamp::from_second(1_000).unwrap();
        let stack: StackId = "a".parse().unwrap();
        let kept = sealer.seal(&stack, "TOKEN", "hush").unwrap();
        let here = HandedBack::at(&sealer, &["a"]);
        for planted in [kept.clone(), format!("9999999999.{kept}")] {
            assert!(here.open("TOKEN", &planted, now).is_err());
        }
        let sealed = here.seal("TOKEN", "hush", now, LASTS).unwrap();
        let (_, body) = sealed.split_once('.').unwrap();
        assert!(sealer.open(&stack, "TOKEN", body).is_err());
        assert!(sealer.open(&stack, "TOKEN", &sealed).is_err());
    }
}
