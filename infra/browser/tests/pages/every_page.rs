//! What holds on every page.

use crate::support::{Page, Screen, World};
use gantry_domain::{
    run::Run,
    stack::{Blocked, StackHead},
};
use gantry_store::{Expect, Write, keys, scheduler::GivenUp};
use thirtyfour::{TypingData, prelude::*};

/// What a page may make a browser download, everything together.
const LARGEST: u64 = 100_000;

/// All pages, with a run whose plan waits for a person.
async fn pages(page: &Page) -> Vec<(&'static str, String)> {
    page.go("/stacks/network").await;
    page.wait_for("Needs confirmation").await;
    let run = page.find("#live tbody a").await.attr("href").await.unwrap().unwrap();
    let run = format!("/{}", run.trim_start_matches("../"));
    page.go("/modules/network-module").await;
    page.wait_for("Passed").await;
    let tests = page.find("#live tbody a").await.attr("href").await.unwrap().unwrap();
    let tests = format!("/{}", tests.trim_start_matches("../"));
    [
        ("overview", "/"),
        ("gitlab", "/gitlab?show=secrets"),
        ("gitlab-replace", "/gitlab?replace=1"),
        ("gitlab-sign-in", "/gitlab/sign-in"),
        ("stack", "/stacks/network"),
        ("stack-new", "/stacks/new"),
        ("stack-edit", "/stacks/network/edit"),
        ("stack-check", "/stacks/network/check"),
        ("stack-history", "/stacks/network/history"),
        ("stack-outputs", "/stacks/network/outputs"),
        ("stack-resources", "/stacks/network/resources"),
        ("modules", "/modules"),
        ("module", "/modules/network-module"),
        ("module-new", "/modules/new"),
        ("module-edit", "/modules/network-module/edit"),
        ("runs", "/runs?state=unconfirmed"),
        ("events", "/events"),
        ("keys", "/keys"),
        ("account", "/account"),
        ("people", "/people"),
        ("activity", "/activity"),
        ("activity-filtered", "/activity?outcome=refused&from=2026-01-01"),
        ("operations", "/operations"),
        ("notifications", "/notifications"),
        ("question", "/gitlab/unlink"),
        ("question-catch-up", "/stacks/network/catch-up"),
        ("parameter", "/events?nobody=knows"),
        ("nowhere", "/nowhere"),
    ]
    .into_iter()
    .map(|(name, path)| (name, path.to_owned()))
    .chain([("run", run), ("module-run", tests), ("sign-in", "/sign-in".to_owned())])
    .collect()
}

pub(crate) const SCREENS: [Screen; 4] = [
    Screen { dark: false, narrow: false, without_scripts: false },
    Screen { dark: true, narrow: false, without_scripts: false },
    Screen { dark: false, narrow: true, without_scripts: false },
    Screen { dark: true, narrow: true, without_scripts: false },
];

/// What is typed into fields, by their names.
pub(crate) type Typed<'a> = &'a [(&'a str, &'a str)];

/// Forms as they come back: what each is called, where it is, and what is typed there.
const REFUSED: [(&str, &str, Typed<'_>); 8] = [
    (
        "stack-new-refused",
        "/stacks/new",
        &[
            ("name", "Refused"),
            ("project", "acme/nowhere"),
            ("tool_version", "latest"),
            ("variables[0].name", "1A"),
            ("variables[0].value", "x"),
            ("pasted", "TOKEN=correct-horse\nnothing\n"),
        ],
    ),
    ("stack-edit-refused", "/stacks/network/edit", &[("branch", "a..b"), ("on_tag.pattern", "v[")]),
    ("module-new-refused", "/modules/new", &[("project", "acme/nowhere"), ("tag_prefix", "v*")]),
    ("keys-refused", "/keys", &[("name", "first-admin-key")]),
    ("notifications-refused", "/notifications", &[("name", "Ops"), ("url", "chat.example.com")]),
    (
        "gitlab-refused",
        "/gitlab?replace=1",
        &[("api_host", "http://127.0.0.1:1"), ("token", "glpat-nobody")],
    ),
    ("gitlab-sign-in-refused", "/gitlab/sign-in", &[("secret", "gloas-nobody")]),
    // The last, as it needs nobody's session.
    ("sign-in-refused", "/sign-in", &[("key", "gantry_no")]),
];

/// Sends a form that is refused, past what a browser would say of it.
pub(crate) async fn refuse(page: &Page, path: &str, fields: Typed<'_>) {
    page.go(path).await;
    let fields = serde_json::to_string(fields).unwrap();
    page.run(&format!(
        "const form = document.querySelector('main form[method=post]');
         for (const [name, value] of {fields}) form.elements[name].value = value;
         form.submit()"
    ))
    .await;
    page.find("[aria-invalid=true]").await;
}

/// Looks at the page with everything unfolded.
pub(crate) async fn look(page: &Page, name: &str, screen: Screen, wrong: &mut Vec<String>) {
    page.run("document.querySelectorAll('details').forEach((d) => { d.open = true })").await;
    for violation in page.violations().await {
        wrong.push(format!("{name} {screen:?}: {violation}"));
    }
    let size = page
        .run(
            "return performance.getEntriesByType('resource')
               .concat(performance.getEntriesByType('navigation'))
               .reduce((sum, e) => sum + (e.transferSize || e.encodedBodySize), 0)",
        )
        .await;
    if size.as_f64().unwrap_or(f64::MAX) > LARGEST as f64 {
        wrong.push(format!("{name}: {size} bytes"));
    }
    // A phone shows a page that is too wide as a whole, and is as wide as that for `window`.
    let overflow = page
        .run("const page = document.documentElement; return page.scrollWidth - page.clientWidth")
        .await;
    if overflow.as_i64().unwrap_or(1) > 0 {
        wrong.push(format!("{name} {screen:?} is {overflow} pixels too wide"));
    }
    let broken = page
        .run(
            "return [...document.querySelectorAll('td code')].filter((code) => {
               const range = document.createRange();
               range.selectNodeContents(code);
               const lines = new Set([...range.getClientRects()].map((line) => line.top));
               return /^\\w{1,20}$/.test(code.textContent) && lines.size > 1;
             }).map((code) => code.textContent)",
        )
        .await;
    for word in broken.as_array().into_iter().flatten() {
        wrong.push(format!("{name} {screen:?} breaks {word}"));
    }
    page.picture(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_small_and_fits_the_screen() {
    let w = World::with_a_stack().await;
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    w.make_module(&page).await;
    w.let_people_sign_in(&page).await;
    page.close().await;
    w.member("ada", 30);
    w.browser_of("ada", Screen::default()).await.close().await;
    w.push("main", "two");
    let mut wrong = Vec::new();
    for screen in SCREENS {
        let page = w.browser(screen).await;
        page.sign_in(&w.key).await;
        for (name, path) in pages(&page).await {
            page.go(&path).await;
            look(&page, name, screen, &mut wrong).await;
            if name == "stack-edit" {
                // The page is longer than its picture.
                let control = "[name='approvals.required']";
                page.picture_at(control, "stack-edit-control").await;
            }
        }
        for (name, path, fields) in REFUSED {
            refuse(&page, path, fields).await;
            look(&page, name, screen, &mut wrong).await;
        }
        page.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Messages that were given up are told on every page, and a block on the page of the run whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_an_admin_is_told_where_people_look() {
    let w = World::with_a_stack().await;
    w.push("main", "two");
    let page = w.browser(Screen::default()).await;
    page.sign_in(&w.key).await;
    page.go("/stacks/network").await;
    page.wait_for("Needs confirmation").await;
    page.click("#live tbody a").await;
    page.press("Confirm and apply").await;
    page.wait_for("Applied: 1 added").await;
    let address = page.driver.current_url().await.unwrap();
    let path = address.path().to_owned();
    page.close().await;

    let store = &w.host.system.store;
    let (run, since) =
        (path.trim_start_matches("/runs/").parse().unwrap(), w.host.system.clock.now());
    let stack = store.get::<Run>(&keys::run(&run)).await.unwrap().unwrap().value.stack;
    let found = store.get::<StackHead>(&keys::stack_head(&stack)).await.unwrap().unwrap();
    let reason = "the result is unknown: the runner was lost while it applied".to_owned();
    let head = StackHead { blocked: Some(Blocked { run, reason, since }), ..found.value.clone() };
    let block = Write::put(keys::stack_head(&stack), found.unchanged(), &head).unwrap();
    let _written = store.write(vec![block]).await.unwrap();

    let mut wrong = Vec::new();
    for screen in SCREENS {
        let page = w.browser(screen).await;
        page.sign_in(&w.key).await;
        for (name, path) in [("overview-given-up", "/"), ("run-blocked", path.as_str())] {
            // The next sweep finds that there is none.
            for _ in 0..5 {
                let given_up = GivenUp { count: 2, since };
                let told = Write::put(keys::given_up(), Expect::Any, &given_up).unwrap();
                let _written = store.write(vec![told]).await.unwrap();
                page.go(path).await;
                if page.text().await.contains("2 messages failed") {
                    break;
                }
            }
            let text = page.text().await;
            assert!(text.contains("2 messages failed"), "{text}");
            assert!(name != "run-blocked" || text.contains("Unblock the stack"), "{text}");
            look(&page, name, screen, &mut wrong).await;
        }
        page.close().await;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_done_with_the_keyboard() {
    let w = World::with_a_stack().await;
    w.push("main", "two");
    let page = w.browser(Screen::default()).await;
    page.go("/").await;
    // The field has the focus already.
    type_keys(&page, w.key.as_str()).await;
    type_keys(&page, Key::Enter).await;
    page.wait_for("network #1").await;
    tab_to(&page, "network #1").await;
    type_keys(&page, Key::Enter).await;
    page.wait_for("Confirm and apply").await;
    tab_to(&page, "Confirm and apply").await;
    let outline = page
        .run(
            "const s = getComputedStyle(document.activeElement);
             return s.boxShadow !== 'none' || s.outlineStyle !== 'none'",
        )
        .await;
    assert_eq!(outline, true, "what has the focus can be seen");
    type_keys(&page, Key::Enter).await;
    page.wait_for("Applied").await;
    // The first stop on a page leads past the navigation.
    page.go("/events").await;
    type_keys(&page, Key::Tab).await;
    assert_eq!(focused(&page).await, "Skip to content");
    page.close().await;
}

async fn type_keys(page: &Page, keys: impl Into<TypingData>) {
    page.driver.active_element().await.unwrap().send_keys(keys).await.unwrap();
}

async fn focused(page: &Page) -> String {
    let text = page.run("return document.activeElement.innerText.trim()").await;
    text.as_str().unwrap_or_default().to_owned()
}

async fn tab_to(page: &Page, words: &str) {
    for _ in 0..60 {
        type_keys(page, Key::Tab).await;
        if focused(page).await == words {
            return;
        }
    }
    panic!("the tabulator does not reach {words:?}\n{}", page.text().await);
}
