//! What a stack's variables add to the tool's command lines: `TF_CLI_ARGS` and
//! `TF_CLI_ARGS_<command>`.

/// The value of an environment variable.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// A flag, without the dashes that begin it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flag {
    pub(super) name: String,
    /// What stands behind its `=`, or is the next word.
    pub(super) value: Option<String>,
}

/// Flags of `plan` whose value may be the word behind them.
const WITH_VALUE: &[&str] = &[
    "target",
    "target-file",
    "exclude",
    "exclude-file",
    "replace",
    "var",
    "var-file",
    "out",
    "parallelism",
    "lock-timeout",
    "state",
    "generate-config-out",
];

/// The flags that `plan` gets from variables, in order.
pub(super) fn of_plan(variable: Lookup<'_>) -> Vec<Flag> {
    let texts = ["TF_CLI_ARGS", "TF_CLI_ARGS_plan"].into_iter().filter_map(variable);
    flags(texts.flat_map(words))
}

/// The first variable that makes plan or apply print JSON.
pub(super) fn prints_json(variable: Lookup<'_>) -> Option<&'static str> {
    ["TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply"].into_iter().find(|name| {
        let flags = flags(variable(name).into_iter().flat_map(words));
        flags.iter().any(|flag| flag.name == "json" && !is_false(flag.value.as_deref()))
    })
}

/// Flags that init, plan and apply all take.
const OF_EVERY_COMMAND: &[&str] = &["no-color", "lock", "lock-timeout", "input"];

/// The flags in a text for every command (`TF_CLI_ARGS`) that some commands refuse, or take for
/// something else.
pub fn not_of_every_command(text: &str) -> Vec<String> {
    let some = flags(words(text).into_iter()).into_iter();
    some.filter(|flag| !OF_EVERY_COMMAND.contains(&flag.name.as_str()))
        .map(|flag| format!("-{}", flag.name))
        .collect()
}

fn flags(words: impl Iterator<Item = String>) -> Vec<Flag> {
    let mut words = words;
    let mut flags = Vec::new();
    while let Some(word) = words.next() {
        let Some(text) = word.strip_prefix('-') else { continue };
        let text = text.strip_prefix('-').unwrap_or(text);
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None if WITH_VALUE.contains(&text) => (text, words.next()),
            None => (text, None),
        };
        flags.push(Flag { name: name.to_owned(), value });
    }
    flags
}

impl Flag {
    /// Whether it makes the plan cover less than the whole configuration.
    pub(super) fn narrows(&self) -> bool {
        let value = self.value.as_deref();
        match self.name.as_str() {
            "target" | "target-file" | "exclude" | "exclude-file" => true,
            "refresh-only" | "minimal-refresh" => !is_false(value),
            "refresh" => is_false(value),
            _ => false,
        }
    }

    /// As somebody would type it.
    pub(super) fn text(&self) -> String {
        match &self.value {
            Some(value) => format!("-{}={value}", self.name),
            None => format!("-{}", self.name),
        }
    }
}

/// What Go reads as false.
fn is_false(value: Option<&str>) -> bool {
    matches!(value, Some("0" | "f" | "F" | "false" | "FALSE" | "False"))
}

/// Splits a text as the tools do: blanks separate, quotes and backslashes keep together, and what
/// a shell would end a command with ends it.
/// <https://github.com/mattn/go-shellwords>
pub(super) fn words(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(c) = letters.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => {
                word.get_or_insert_default().extend(letters.next());
            }
            (' ' | '\t' | '\r' | '\n', None) => words.extend(word.take()),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, Some(open)) if c == open => quote = None,
            (';' | '&' | '|' | '<' | '>', None) => break,
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The words as one text that is split into them again.
pub(super) fn joined(words: &[String]) -> String {
    let quoted: Vec<_> =
        words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    quoted.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_as_the_tools_do() {
        assert_eq!(
            words(r#" -a  -var="x y" '-b=\"' c\ d "" "#),
            ["-a", "-var=x y", r#"-b=\""#, "c d", ""]
        );
        assert_eq!(words("-a; -b"), ["-a"]);
    }

    #[test]
    fn flags_are_read_in_every_form() {
        let of = |text: &str| {
            let text = text.to_owned();
            let read = flags(words(&text).into_iter());
            let said: Vec<_> = read.iter().map(|flag| (flag.text(), flag.narrows())).collect();
            said
        };
        let yes = |text: &str| (text.to_owned(), true);
        let no = |text: &str| (text.to_owned(), false);
        assert_eq!(
            of("-target=a --target b -exclude c"),
            [yes("-target=a"), yes("-target=b"), yes("-exclude=c")]
        );
        assert_eq!(
            of("-refresh=false -refresh=0 -refresh"),
            [yes("-refresh=false"), yes("-refresh=0"), no("-refresh")]
        );
        assert_eq!(
            of("-minimal-refresh -refresh-only=false"),
            [yes("-minimal-refresh"), no("-refresh-only=false")]
        );
        assert_eq!(of("-var -target -replace=x"), [no("-var=-target"), no("-replace=x")]);
    }

    #[test]
    fn flags_that_init_refuses_are_known() {
        assert!(not_of_every_command("-no-color -lock-timeout=1m -input=false").is_empty());
        assert_eq!(
            not_of_every_command("-no-color -target=a.b -var-file prod.tfvars"),
            ["-target", "-var-file"]
        );
    }

    proptest::proptest! {
        #[test]
        fn joined_words_stay_what_they_are(texts in proptest::collection::vec("\\PC{0,12}", 0..5)) {
            proptest::prop_assert_eq!(words(&joined(&texts)), texts);
        }
    }
}
