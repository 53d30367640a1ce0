//! States in a tool's output. A tool that can save a state nowhere prints it, and `state pull` in a
//! hook does: nobody has said yet what in it is secret.

/// What the log has in its place.
const HIDDEN: &str = "  (state output hidden because it may contain secrets)";
/// What a line that is a whole state begins with.
const WHOLE: &str = "{\"version\":";
const WRITTEN_BY: &str = "\"terraform_version\":";

/// Leaves states out of an output that comes by lines, or by parts of lines.
#[derive(Debug, Default)]
pub struct PrintedStates(Place);

/// What was seen last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Elsewhere,
    /// `{` alone on a line.
    Opened,
    /// The version of something's format after it.
    Version,
    /// A state of many lines, which ends with `}` alone on a line.
    Inside,
    /// A state of one line, which ends with it.
    Line,
}

impl PrintedStates {
    /// What is shown of `text`, which begins and ends a line where it says so. None: nothing, not
    /// even the end of a line.
    pub fn shown<'a>(&mut self, text: &'a str, begins: bool, ends: bool) -> Option<&'a str> {
        let before = self.0;
        if before == Place::Line {
            if ends {
                self.0 = Place::Elsewhere;
            }
            return ends.then_some("");
        }
        if !begins {
            return (before != Place::Inside).then_some(text);
        }
        let line = text.trim_end();
        let begins_with = |name: &str| line.trim_start().starts_with(name);
        self.0 = match before {
            Place::Inside if line == "}" => Place::Elsewhere,
            Place::Inside => Place::Inside,
            _ if line.starts_with(WHOLE) && line.contains(WRITTEN_BY) && ends => {
                return Some(HIDDEN);
            }
            _ if line.starts_with(WHOLE) && line.contains(WRITTEN_BY) => Place::Line,
            _ if line == "{" && ends => Place::Opened,
            Place::Opened if begins_with("\"version\":") => Place::Version,
            Place::Version if begins_with(WRITTEN_BY) => Place::Inside,
            _ => Place::Elsewhere,
        };
        match (before, self.0) {
            (Place::Inside, Place::Inside) => None,
            (_, Place::Inside | Place::Line) => Some(HIDDEN),
            _ => Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pieces: &[(&str, bool, bool)]) -> Vec<String> {
        let mut states = PrintedStates::default();
        let shown = pieces.iter().filter_map(|(text, begins, ends)| {
            states.shown(text, *begins, *ends).map(str::to_owned)
        });
        shown.collect()
    }

    fn of_lines(text: &str) -> Vec<String> {
        shown(&text.lines().map(|line| (line, true, true)).collect::<Vec<_>>())
    }

    #[test]
    fn a_state_of_many_lines_is_left_out() {
        let text = "before\n{\n  \"version\": 4,\n  \"terraform_version\": \"1.11.4\",\n  \
            \"outputs\": {\n    \"password\": \"hunter22\"\n  },\n  \"x\": {}\n}\n\nafter\n{\n}\n";
        let left = ["before", "{", "  \"version\": 4,", HIDDEN, "}", "", "after", "{", "}"];
        assert_eq!(of_lines(text), left);
        // A tool that was killed meanwhile.
        let cut = &text[..text.find("22").unwrap()];
        assert_eq!(of_lines(cut), left[..4]);
    }

    #[test]
    fn a_state_of_one_line_is_left_out() {
        let state = "{\"version\":4,\"terraform_version\":\"1.12.6\",\"password\":\"hunter22\"}";
        assert_eq!(of_lines(&format!("before\n{state}\nafter")), ["before", HIDDEN, "after"]);
        let (first, rest) = state.split_at(50);
        let pieces =
            [(first, true, false), (rest, false, false), ("}", false, true), ("x", true, true)];
        assert_eq!(shown(&pieces), [HIDDEN, "", "x"]);
    }

    #[test]
    fn what_is_no_state_is_shown() {
        let text = "{\"version\":4}\n{\n  \"version\": 4,\n  \"name\": \"x\"\n}\n{\n  \
            \"terraform_version\": \"1\"\n}\n  \"version\": 4,\n  \"terraform_version\": 1\n";
        assert_eq!(of_lines(text).join("\n"), text.trim_end());
    }
}
