//! Logging in and out.

use crate::support::{Gantry, KEY, READER, Said, Script, Terminal};
use std::{fs, path::Path};

async fn says(folder: &Path, input: &'static str, line: &str) -> Said {
    Terminal { folder: Some(folder), input, ..Terminal::default() }.says(line).await
}

async fn says_to(folder: &Path, typed: &'static str, line: &str) -> Said {
    Terminal { folder: Some(folder), typed: Some(typed), ..Terminal::default() }.says(line).await
}

fn stored(folder: &Path) -> String {
    fs::read_to_string(folder.join("hosts.json")).unwrap_or_default()
}

#[tokio::test]
async fn a_key_is_checked_and_then_stored_and_later_commands_use_it() {
    let gantry = Gantry::start(Script::default()).await;
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("gantry");
    let login = format!("gantry login {}", gantry.url);

    let said = says(&folder, "", "gantry stacks").await;
    assert!(said.code == 1 && said.err.contains("gantry login"), "{said:?}");
    let said = says(&folder, "wrong-key", &login).await;
    assert!(said.code == 1 && said.err.contains("Nothing was stored"), "{said:?}");
    assert_eq!(stored(&folder), "");
    for (input, why) in [("", "No key was given"), ("two words", "without spaces")] {
        let said = says(&folder, input, &login).await;
        assert!(said.code == 2 && said.err.contains(why), "{said:?}");
    }

    let said = says(&folder, "good-key-4711\n", &login).await;
    assert_eq!((said.code, said.out), (0, format!("Logged in to {}.\n", gantry.url)));
    assert!(stored(&folder).contains(KEY));
    assert_eq!(says(&folder, "", "gantry stacks").await.code, 0);

    // What is in a file, or typed.
    let file = home.path().join("key");
    fs::write(&file, format!("{READER}\n")).unwrap();
    let said = says(&folder, "", &format!("{login} --key-file {}", file.display())).await;
    assert_eq!(said.code, 0);
    assert!(stored(&folder).contains(READER) && !stored(&folder).contains(KEY));
    says(&folder, "", "gantry logout").await;
    let said = says_to(&folder, KEY, &login).await;
    assert!(said.code == 0 && said.err.contains("Access key for http://"), "{said:?}");
    assert!(stored(&folder).contains(KEY));
}

#[tokio::test]
async fn of_several_one_is_current_and_logging_in_again_switches() {
    let (one, two) =
        (Gantry::start(Script::default()).await, Gantry::start(Script::default()).await);
    let home = tempfile::tempdir().unwrap();
    let folder = home.path();
    for gantry in [&one, &two] {
        says(folder, KEY, &format!("gantry login {}", gantry.url)).await;
    }
    let current = async || says(folder, "", "gantry open --print").await.out;
    assert_eq!(current().await, format!("{}/\n", two.url));
    // Nothing is typed: the key is there.
    let said = says_to(folder, "", &format!("gantry login {}", one.url)).await;
    assert!(said.code == 0 && said.out.contains("with the stored key"), "{said:?}");
    assert_eq!(current().await, format!("{}/\n", one.url));
    // A page says whose it is.
    let said = says(folder, "", &format!("gantry show {}/runs/r-8c41d7", two.url)).await;
    assert!(
        said.code == 0 && said.out.contains(&format!("gantry confirm {}", "network#6")),
        "{said:?}"
    );

    let said = says(folder, "", "gantry logout").await;
    assert!(said.out.contains(&format!("talk to {} now", two.url)), "{said:?}");
    assert!(said.err.contains("stays valid"), "{said:?}");
    let said = says(folder, "", &format!("gantry logout {}", one.url)).await;
    assert!(said.code == 1 && said.err.contains("not logged in to"), "{said:?}");
    says(folder, "", "gantry logout").await;
    assert!(!stored(folder).contains(KEY));
}

#[tokio::test]
async fn a_key_is_not_sent_unencrypted_to_another_machine() {
    let home = tempfile::tempdir().unwrap();
    let said = says(home.path(), KEY, "gantry login http://gantry.example").await;
    assert!(said.code == 2 && said.err.contains("--insecure-http"), "{said:?}");
    let terminal = Terminal {
        url: Some("http://gantry.example".into()),
        key: Some(KEY.into()),
        ..Terminal::default()
    };
    let said = terminal.says("gantry stacks").await;
    assert!(said.code == 2 && said.err.contains("not encrypted"), "{said:?}");
}

#[tokio::test]
async fn the_environment_is_enough() {
    let gantry = Gantry::start(Script::default()).await;
    assert_eq!(gantry.says("gantry stacks").await.code, 0);
    let (url, key) = (Some(gantry.url.clone()), Some("wrong-key".to_owned()));
    let said = Terminal { url, key, ..Terminal::default() }.says("gantry stacks").await;
    assert!(said.code == 1 && said.err.contains("GANTRY_KEY"), "{said:?}");
}
