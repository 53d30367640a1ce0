//! What is refused, what goes on, and what is said.

use super::*;

struct Case<'a> {
    tool: Tool,
    manage_state: bool,
    is_test: bool,
    variables: &'a [(&'a str, &'a str)],
}

impl Case<'_> {
    fn of(tool: Tool, manage_state: bool) -> Self {
        Case { tool, manage_state, is_test: false, variables: &[] }
    }

    fn admit(&self, files: &[(&str, &str)]) -> Result<Admitted, String> {
        let files: Vec<_> = files.iter().map(|(name, text)| RootFile { name, text }).collect();
        self.asked(|asked| admit(&files, asked).map_err(|refusal| refusal.to_string()))
    }

    fn asked<T>(&self, then: impl FnOnce(&Asked<'_>) -> T) -> T {
        let variable = |wanted: &str| {
            self.variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
        };
        then(&Asked {
            tool: self.tool,
            manage_state: self.manage_state,
            is_test: self.is_test,
            variable: &variable,
        })
    }
}

const LOCAL: &str = "terraform {\n  backend \"local\" {}\n}\n";
const GCS: &str = "\nterraform {\n  backend \"gcs\" {}\n}\n";
const CLOUD: &str = "terraform {\n  cloud {}\n}\n";
const BOTH: [Tool; 2] = [Tool::Terraform, Tool::OpenTofu];

#[test]
fn a_root_without_configuration_is_refused() {
    let empty: [&[(&str, &str)]; 6] = [
        &[],
        &[("README.md", "x")],
        &[(".main.tf", "x")],
        &[("main.tf~", "x")],
        &[("override.tf", "x")],
        &[("backend_override.tf", "x"), ("z_override.tf.json", "{}")],
    ];
    for (tool, files) in BOTH.into_iter().flat_map(|tool| empty.map(|files| (tool, files))) {
        for (manage_state, is_test) in [(true, false), (false, false), (true, true)] {
            let case = Case { is_test, ..Case::of(tool, manage_state) };
            let refusal = case.admit(files).unwrap_err();
            assert!(refusal.starts_with("No configuration files: "), "{refusal}");
        }
    }
    let only_tofu = [("main.tofu", "")];
    insta::assert_snapshot!(Case::of(Tool::Terraform, true).admit(&only_tofu).unwrap_err(), @"No configuration files: the project root has no .tf or .tf.json file, so a plan would destroy everything in the state");
    assert!(Case::of(Tool::OpenTofu, true).admit(&only_tofu).is_ok());
}

#[test]
fn an_override_that_would_win_is_refused_with_its_place() {
    let main = ("main.tf", "");
    for tool in BOTH {
        let case = Case::of(tool, true);
        let wins = case.admit(&[main, ("zzz_override.tf", LOCAL)]).unwrap_err();
        assert!(
            wins.starts_with("backend \"local\" in zzz_override.tf line 2 would override"),
            "{wins}"
        );
        let wins = case.admit(&[main, ("zzz_override.tf", CLOUD)]).unwrap_err();
        assert!(wins.starts_with("cloud in zzz_override.tf line 2 would override"), "{wins}");
        let json = r#"{"terraform": {"backend": {"local": {}}}}"#;
        let wins = case.admit(&[main, ("zzz_override.tf.json", json)]).unwrap_err();
        assert!(wins.starts_with("backend \"local\" in zzz_override.tf.json line 1"), "{wins}");
        let loses = case.admit(&[main, ("override.tf", LOCAL)]).unwrap();
        assert_eq!(loses.remarks.len(), 1);
        assert!(case.admit(&[main, ("zzz_override.tf", "locals {}")]).unwrap().remarks.is_empty());
    }
    let tofu = [main, ("zzz_override.tofu", LOCAL)];
    assert!(Case::of(Tool::OpenTofu, true).admit(&tofu).unwrap_err().contains("zzz_override.tofu"));
    assert!(Case::of(Tool::Terraform, true).admit(&tofu).is_ok(), "it does not read that file");
    // The file that OpenTofu takes instead has no backend.
    let hidden = [main, ("zzz_override.tf", LOCAL), ("zzz_override.tofu", "")];
    assert!(Case::of(Tool::OpenTofu, true).admit(&hidden).is_ok());
    assert!(Case::of(Tool::Terraform, true).admit(&hidden).is_err());
}

#[test]
fn our_override_has_the_form_that_wins_and_replaces_nothing() {
    let main = ("main.tf", "");
    let written = |tool| Case::of(tool, true).admit(&[main]).unwrap().override_file.unwrap().0;
    assert_eq!(written(Tool::Terraform), "zz_gantry_backend_override.tf");
    assert_eq!(written(Tool::OpenTofu), "zz_gantry_backend_override.tofu");
    for ending in [".tf", ".tofu", ".tf.json", ".tofu.json"] {
        let name = format!("zz_gantry_backend_override{ending}");
        for tool in BOTH {
            let files = [main, (name.as_str(), "")];
            let refusal = Case::of(tool, true).admit(&files).unwrap_err();
            assert!(refusal.starts_with(&format!("{name} has the name of")), "{refusal}");
            let own = [main, (name.as_str(), ""), ("backend.tf", GCS)];
            assert!(Case::of(tool, false).admit(&own).is_ok());
        }
    }
}

#[test]
fn a_backend_that_is_not_used_is_told() {
    let files = [("main.tf", ""), ("backend.tf", GCS)];
    let admitted = Case::of(Tool::Terraform, true).admit(&files).unwrap();
    insta::assert_snapshot!(admitted.remarks.join("\n"), @r#"backend "gcs" in backend.tf line 3 is ignored because Gantry stores the state of this stack. If that backend holds a state, import it first, or set manage_state to false"#);
    let both = [("backend.tf", GCS), ("override.tf", CLOUD)];
    assert_eq!(Case::of(Tool::OpenTofu, true).admit(&both).unwrap().remarks.len(), 2);
}

#[test]
fn a_state_that_nobody_keeps_is_refused() {
    let main = ("main.tf", "# terraform {\n# backend \"s3\" {}\n# }\n");
    for tool in BOTH {
        let case = Case::of(tool, false);
        let refusal = case.admit(&[main]).unwrap_err();
        assert!(refusal.starts_with("No file in the project root has a backend"), "{refusal}");
        let refusal = case.admit(&[main, ("b.tf", LOCAL)]).unwrap_err();
        assert!(refusal.starts_with("backend \"local\" in b.tf line 2 stores"), "{refusal}");
        let refusal = case.admit(&[("b.tf", GCS), ("override.tf", LOCAL)]).unwrap_err();
        assert!(refusal.contains("override.tf"), "{refusal}");
        for good in [
            [main, ("b.tf", GCS)],
            [main, ("b.tf", CLOUD)],
            [("b.tf", LOCAL), ("override.tf", GCS)],
        ] {
            assert_eq!(case.admit(&good).unwrap(), Admitted::default());
        }
        let test = Case { is_test: true, ..case };
        assert!(test.admit(&[main]).is_ok());
    }
}

#[test]
fn arguments_that_narrow_a_plan_are_told() {
    let files = [("main.tf", "")];
    let of =
        |variables| Case { variables, ..Case::of(Tool::OpenTofu, true) }.admit(&files).unwrap();
    let narrowed =
        of(&[("TF_CLI_ARGS", "-no-color -refresh=0"), ("TF_CLI_ARGS_plan", "-exclude 'a b'")]);
    assert!(narrowed.partial);
    insta::assert_snapshot!(narrowed.remarks.join("\n"), @"TF_CLI_ARGS narrows the plan: -refresh=0 -exclude=a b");
    let replaced = of(&[("TF_CLI_ARGS_plan", "-replace=a.b")]);
    assert!(!replaced.partial);
    insta::assert_snapshot!(replaced.remarks.join("\n"), @"TF_CLI_ARGS adds -replace=a.b to every plan. Remove it once that is done");
    let others =
        of(&[("TF_CLI_ARGS_apply", "-target=x"), ("TF_CLI_ARGS_plan", "-lock-timeout 1m")]);
    assert_eq!((others.partial, others.remarks.len()), (false, 0));
}

#[test]
fn a_tool_that_would_print_json_is_refused() {
    let of = |variable, text| {
        let variables = &[(variable, text)];
        let case = Case { variables, ..Case::of(Tool::Terraform, true) };
        case.admit(&[("main.tf", "")]).err()
    };
    for variable in ["TF_CLI_ARGS", "TF_CLI_ARGS_plan", "TF_CLI_ARGS_apply"] {
        for text in ["-json", "-no-color --json", "-json=true"] {
            assert_eq!(
                of(variable, text),
                Some(Refusal::PrintsJson(variable).to_string()),
                "{text}"
            );
        }
        for text in ["-json=false", "-json-into=x", "-var json"] {
            assert_eq!(of(variable, text), None, "{text}");
        }
    }
    assert_eq!(of("TF_CLI_ARGS_show", "-json"), None);
}

#[test]
fn an_apply_gets_the_values_that_are_in_no_plan() {
    let of = |text: &str, variables| {
        let files = [RootFile { name: "main.tf", text }];
        let case = Case { variables, ..Case::of(Tool::OpenTofu, true) };
        case.asked(|asked| arguments_of_apply(&files, asked))
    };
    let ephemeral = "variable \"v\" {\n  ephemeral = true\n}\n";
    let given: &[(&str, &str)] = &[
        ("TF_CLI_ARGS", "-var=everywhere=1"),
        ("TF_CLI_ARGS_plan", "-target x -var 'v=a b' -var-file=v.tfvars"),
        ("TF_CLI_ARGS_apply", "-parallelism=1"),
    ];
    let said = of(ephemeral, given).unwrap();
    assert_eq!(said, "-parallelism=1 '-var=v=a b' '-var-file=v.tfvars'");
    assert_eq!(of("variable \"v\" {\n  ephemeral = false\n}\n", given), None);
    assert_eq!(of("variable \"v\" {}\n", given), None);
    assert_eq!(of(ephemeral, &[]), None);
}

#[test]
fn the_tool_itself_says_which_backend_it_uses() {
    let of = |body: &str, manage_state| {
        let written = Some(body.as_bytes()).filter(|body| !body.is_empty());
        backend_in_use(written, manage_state).map_err(|error| error.to_string())
    };
    let http =
        r#"{"version": 3, "backend": {"type": "http", "config": {"address": null}, "hash": 1}}"#;
    let set = http.replace("null", "\"http://elsewhere\"");
    let local = r#"{"version": 3, "backend": {"type": "local", "config": null}}"#;
    let s3 = r#"{"version": 3, "backend": {"type": "s3", "config": {"bucket": "x"}}}"#;
    assert_eq!(
        (of(http, true), of(http, false), of(s3, false), of(&set, false)),
        (Ok(()), Ok(()), Ok(()), Ok(()))
    );
    for (body, manage_state, expected) in [
        ("", true, "in the local folder instead of Gantry"),
        ("{}", true, "in the local folder instead of Gantry"),
        (local, true, "in backend \"local\" instead of Gantry"),
        (s3, true, "in backend \"s3\" instead of Gantry"),
        (set.as_str(), true, "settings that are not Gantry's (address)"),
        ("", false, "in the local folder and lost"),
        (local, false, "in backend \"local\" and lost"),
        ("[]x", false, "does not report which backend"),
    ] {
        let error = of(body, manage_state).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
