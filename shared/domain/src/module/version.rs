//! A module's versions: which tags are one, and a key that sorts them.

use semver::Version;

/// The longest version, in bytes: its key then fits into the 1024 bytes of a sort key.
pub const LONGEST: usize = 128;

/// The version that a tag names: `v1.2.3` or `1.2.3`, after the module's prefix if it has one.
/// None for every other tag, and for a version with build metadata, which has no place in the
/// order of versions.
pub fn from_tag(tag: &str, prefix: &str) -> Option<Version> {
    let rest = tag.strip_prefix(prefix)?;
    strict(rest.strip_prefix('v').unwrap_or(rest))
}

/// The version that is exactly this text: SemVer 2.0.0 without build metadata.
pub(super) fn strict(text: &str) -> Option<Version> {
    let version = (text.len() <= LONGEST).then(|| Version::parse(text).ok())?;
    version.filter(|version| version.build.is_empty())
}

/// A text for a version: bytes of two such texts have the order of SemVer's precedence
/// (<https://semver.org/#spec-item-11>). Build metadata has no part in it. For a version of
/// [`from_tag`] it has fewer than 1024 bytes.
///
/// `1.2.0` is `0000000001.0000000002.0000000000~`, `1.2.0-rc.1` the same with
/// `-_rc,0000000001` instead of `~`.
pub fn sort_key(version: &Version) -> String {
    let numbers = [version.major, version.minor, version.patch];
    let mut key = numbers.map(|number| padded(&number.to_string())).join(".");
    if version.pre.is_empty() {
        key.push('~');
        return key;
    }
    key.push('-');
    // A comma is less than everything that a part is made of, as the end of the key is: of two
    // that begin alike, the one with fewer parts is first.
    let parts: Vec<_> = version.pre.split('.').map(part).collect();
    key + &parts.join(",")
}

/// A part of a pre-release: numbers are before words.
fn part(text: &str) -> String {
    match text.bytes().all(|b| b.is_ascii_digit()) {
        true => padded(text),
        false => format!("_{text}"),
    }
}

/// Ten digits; a longer number is after all of those, behind an `A` and its length.
fn padded(digits: &str) -> String {
    match digits.len() {
        0..=10 => format!("{digits:0>10}"),
        length => format!("A{length:020}{digits}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tags_that_are_versions() {
        for (tag, prefix, version) in [
            ("v1.2.3", "", "1.2.3"),
            ("1.2.3", "", "1.2.3"),
            ("v1.2.3-rc.1", "", "1.2.3-rc.1"),
            ("vpc-1.2.3", "vpc-", "1.2.3"),
            ("vpc/v1.2.3", "vpc/", "1.2.3"),
            ("v0.0.0", "v", "0.0.0"),
        ] {
            assert_eq!(from_tag(tag, prefix).unwrap().to_string(), version, "{tag}");
        }
    }

    #[test]
    fn tags_that_are_none() {
        for (tag, prefix) in [
            ("", ""),
            ("v", ""),
            ("v1.2", ""),
            ("1.2.3.4", ""),
            ("vv1.2.3", ""),
            ("V1.2.3", ""),
            (" 1.2.3", ""),
            ("v01.2.3", ""),
            ("v1.2.3-01", ""),
            ("v1.2.3-", ""),
            ("v1.2.3+build", ""),
            ("release-1.2.3", ""),
            ("v1.2.3", "vpc-"),
            ("1.2.3", "vpc-"),
            ("VPC-1.2.3", "vpc-"),
            ("99999999999999999999.0.0", ""),
            (&format!("1.2.3-{}", "a".repeat(LONGEST)), ""),
        ] {
            assert_eq!(from_tag(tag, prefix), None, "{tag}");
        }
    }

    #[test]
    fn keys_can_be_read() {
        let keys = ["1.2.0-rc.1", "1.2.0", "1.12345678901.0"];
        let keys = keys.map(|text| sort_key(&text.parse().unwrap())).join("\n");
        insta::assert_snapshot!(keys, @"
        0000000001.0000000002.0000000000-_rc,0000000001
        0000000001.0000000002.0000000000~
        0000000001.A0000000000000000001112345678901.0000000000~
        ");
    }

    #[test]
    fn the_longest_key_fits_into_the_table() {
        let text = format!("1.0.0-{}", vec!["1"; 61].join("."));
        assert_eq!(text.len(), LONGEST - 1);
        let longest = sort_key(&from_tag(&text, "").unwrap());
        assert!(longest.len() < 1024, "{}", longest.len());
    }

    #[test]
    fn build_metadata_has_no_part_in_the_order() {
        let key = |text: &str| sort_key(&text.parse().unwrap());
        assert_eq!(key("1.0.0+a"), key("1.0.0+b"));
    }

    /// Versions that are often nearly the same.
    fn any_version() -> impl Strategy<Value = Version> {
        let number = prop_oneof![Just("0"), Just("1"), Just("2"), Just("9"), Just("10")];
        let large = prop_oneof![Just("9999999999"), Just("10000000000"), Just("99999999999")];
        let number = prop_oneof![4 => number, 1 => large].prop_map(str::to_owned);
        let part = prop_oneof![
            3 => number.clone(),
            2 => "(a|b|-|A|ab|a-|-a|a1|1a|rc|0a)",
            1 => "[0-9A-Za-z-]{1,4}".prop_filter("no leading zero", |text| {
                !text.starts_with('0') || text == "0" || text.bytes().any(|b| !b.is_ascii_digit())
            }),
            1 => "[1-9][0-9]{20,24}",
        ];
        let pre = prop::collection::vec(part, 0..4);
        (number.clone(), number.clone(), number, pre).prop_map(|(major, minor, patch, pre)| {
            let dash = if pre.is_empty() { "" } else { "-" };
            format!("{major}.{minor}.{patch}{dash}{}", pre.join(".")).parse().unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn keys_have_the_order_of_versions(one in any_version(), other in any_version()) {
            prop_assert_eq!(sort_key(&one).cmp(&sort_key(&other)), one.cmp(&other));
        }

        #[test]
        fn pre_releases_of_one_version_too(one in any_version(), other in any_version()) {
            let other = Version { pre: other.pre, ..one.clone() };
            prop_assert_eq!(sort_key(&one).cmp(&sort_key(&other)), one.cmp(&other));
        }

        #[test]
        fn any_tag_is_a_version_or_none(tag in "\\PC{0,40}", prefix in "\\PC{0,3}") {
            if let Some(version) = from_tag(&tag, &prefix) {
                prop_assert!(tag.ends_with(&version.to_string()));
            }
        }
    }
}
