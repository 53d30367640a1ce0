//! A world with a browser in it: GitLab, the host, chromedriver, and what a person does there.

use gantry_fake_gitlab::{Config, FakeGitlab, Limits, Person, ProjectId, ProjectOptions, UserId};
use gantry_local::{Host, HostConfig, Intervals, Reach};
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use thirtyfour::prelude::*;

/// Real Terraform on a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(90);

/// How the browser shows pages.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Screen {
    pub(crate) dark: bool,
    pub(crate) narrow: bool,
    /// The browser runs no script of a page.
    pub(crate) without_scripts: bool,
}

/// Where the tools are: Chromium, chromedriver, axe-core.
struct Tools {
    chromium: String,
    chromedriver: String,
    axe: String,
}

fn tools() -> &'static Tools {
    static TOOLS: OnceLock<Tools> = OnceLock::new();
    TOOLS.get_or_init(|| {
        let lines = script("setup.sh");
        let mut lines = lines.lines().map(str::to_owned);
        let mut next = || lines.next().unwrap();
        let (chromium, chromedriver, axe) = (next(), next(), next());
        Tools { chromium, chromedriver, axe: std::fs::read_to_string(axe).unwrap() }
    })
}

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let output = Command::new(path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) struct World {
    pub(crate) gitlab: FakeGitlab,
    pub(crate) project: ProjectId,
    pub(crate) you: Person,
    pub(crate) bot: UserId,
    /// GitLab's token.
    pub(crate) token: String,
    pub(crate) host: Host,
    pub(crate) key: String,
    _folder: TempDir,
}

impl World {
    /// A host that nobody has set up, before a GitLab with one project.
    pub(crate) async fn new() -> Self {
        let limits = Limits { archives_per_minute: None, ..Limits::default() };
        let gitlab = FakeGitlab::start(Config { limits, ..Config::default() }).await.unwrap();
        let bot = gitlab.create_bot("gantry-bot");
        let token = gitlab.create_token(bot, &["api"], None);
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let options = ProjectOptions {
            files: vec![file("README.md", "# Ours\n"), file("network/main.tf", &code("one"))],
            ..ProjectOptions::default()
        };
        let project = gitlab.create_project("acme/network", options).unwrap();
        gitlab.set_member(project, bot, 40);
        let you = gitlab.person("you");
        gitlab.set_member(project, you.id(), 40);
        let folder = TempDir::with_prefix("gantry-browser-").unwrap();
        let host = Host::start(HostConfig {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: None,
            data_dir: folder.path().join("data"),
            public_url: None,
            runners: 2,
            runner_user: None,
            reach: Reach { may_read: gantry_terraform::needs(), ..Reach::default() },
            runner: gantry_terraform::runner(),
            path: gantry_terraform::path(),
            terraform_config: None,
            ca_file: None,
            intervals: Intervals::default(),
        });
        let host = host.await.unwrap();
        let secrets: Value =
            serde_json::from_slice(&std::fs::read(&host.secrets_file).unwrap()).unwrap();
        let key = secrets["admin-key"].as_str().unwrap().to_owned();
        Self { gitlab, project, you, bot, token, host, key, _folder: folder }
    }

    /// One with GitLab connected and a stack, made by hand at the pages.
    pub(crate) async fn with_a_stack() -> Self {
        let w = Self::new().await;
        let page = w.browser(Screen::default()).await;
        page.sign_in(&w.key).await;
        page.set_up_gitlab(&w).await;
        page.make_stack("Network").await;
        page.close().await;
        w
    }

    /// A module made by hand at the pages, with a version.
    pub(crate) async fn make_module(&self, page: &Page) {
        let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
        let config = "version: 1\nmodule_version: 1.0.0\ntests:\n  - name: basic\n  - name: refuses\n    \
                      negative: true\n    variables: { TF_VAR_name: bad }\n";
        let options = ProjectOptions {
            files: vec![file("main.tf", MODULE), file("README.md", "# Network\n\nOur networks.\n")],
            ..ProjectOptions::default()
        };
        let project = self.gitlab.create_project("acme/terraform-aws-network", options).unwrap();
        self.gitlab.set_member(project, self.bot, 40);
        self.gitlab.set_member(project, self.you.id(), 40);
        page.go("/modules").await;
        page.press("Create your first module").await;
        page.fill("project", "acme/terraform-aws-network").await;
        page.fill("slug", "network-module").await;
        page.press("Create module").await;
        page.wait_for("Module created.").await;
        self.you.push(project, "main", ".gantry/config.yml", config).unwrap();
        page.wait_for("Passed").await;
        page.go("/modules/network-module").await;
        page.wait_for("The current version is 1.0.0").await;
        page.wait_for("acme/network/aws").await;
    }

    pub(crate) async fn browser(&self, screen: Screen) -> Page {
        Page::open(&format!("http://{}", self.host.address), screen).await
    }

    /// Pushes Terraform code to a branch; the commit.
    pub(crate) fn push(&self, branch: &str, value: &str) -> String {
        self.you.push(self.project, branch, "network/main.tf", &code(value)).unwrap()
    }
}

/// A module whose name must not be "bad".
const MODULE: &str = r#"
variable "name" {
  type        = string
  default     = "office"
  description = "What it is called."
  validation {
    condition     = var.name != "bad"
    error_message = "The name must not be bad."
  }
}

resource "terraform_data" "made" {
  input = var.name
}

output "name" {
  value       = terraform_data.made.output
  description = "What it is called now."
}
"#;

/// Terraform code that needs no provider.
fn code(value: &str) -> String {
    format!("resource \"terraform_data\" \"office\" {{\n  input = \"{value}\"\n}}\n")
}

/// A browser at Gantry's pages.
pub(crate) struct Page {
    pub(crate) driver: WebDriver,
    pub(crate) address: String,
    screen: Screen,
    chromedriver: Child,
}

impl Page {
    pub(crate) async fn open(address: &str, screen: Screen) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(&tools().chromedriver);
        command.arg(format!("--port={port}")).stdout(Stdio::null()).stderr(Stdio::null());
        let chromedriver = command.spawn().unwrap();
        let (width, height) = if screen.narrow { (375, 800) } else { (1200, 850) };
        let mut options = json!({
            "binary": tools().chromium,
            "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                "--disable-dev-shm-usage", format!("--window-size={width},{height}"),
                // 0 is dark, 1 is light.
                format!("--blink-settings=preferredColorScheme={}", u8::from(!screen.dark)),
            ],
        });
        if screen.without_scripts {
            // 2 is block.
            options["prefs"] = json!({ "profile.managed_default_content_settings.javascript": 2 });
        }
        if screen.narrow {
            options["mobileEmulation"] =
                json!({ "deviceMetrics": { "width": width, "height": height, "pixelRatio": 1.0 } });
        }
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set("goog:chromeOptions", options).unwrap();
        let server = format!("http://127.0.0.1:{port}");
        let began = Instant::now();
        let driver = loop {
            match WebDriver::new(&server, wanted.clone()).await {
                Ok(driver) => break driver,
                Err(error) => assert!(began.elapsed() < PATIENCE, "no browser: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        Self { driver, address: address.to_owned(), screen, chromedriver }
    }

    pub(crate) async fn close(mut self) {
        self.driver.clone().quit().await.unwrap();
        self.chromedriver.kill().unwrap();
        self.chromedriver.wait().unwrap();
    }

    /// Goes to a page of Gantry's.
    pub(crate) async fn go(&self, path: &str) {
        self.driver.goto(format!("{}{path}", self.address)).await.unwrap();
    }

    /// Where the browser is, without the address.
    pub(crate) async fn place(&self) -> String {
        let url = self.driver.current_url().await.unwrap().to_string();
        url.strip_prefix(&self.address).unwrap_or(&url).to_owned()
    }

    pub(crate) async fn find(&self, css: &str) -> WebElement {
        let began = Instant::now();
        loop {
            match self.driver.find(By::Css(css)).await {
                Ok(found) => return found,
                Err(_) if began.elapsed() < Duration::from_secs(5) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(error) => panic!("no {css}: {error}\n{}", self.text().await),
            }
        }
    }

    pub(crate) async fn click(&self, css: &str) {
        let element = self.find(css).await;
        element.scroll_into_view().await.unwrap();
        element.click().await.unwrap();
    }

    /// Clicks the link or the button with these words.
    pub(crate) async fn press(&self, words: &str) {
        let xpath = format!(
            "//main//*[self::a or self::button or self::summary][normalize-space()='{words}']"
        );
        let found = self.driver.find(By::XPath(&xpath)).await;
        let found = match found {
            Ok(found) => found,
            Err(error) => panic!("nothing says {words:?}: {error}\n{}", self.text().await),
        };
        found.scroll_into_view().await.unwrap();
        found.click().await.unwrap();
    }

    /// Types into the field with this name, in place of what is there.
    pub(crate) async fn fill(&self, name: &str, text: &str) {
        let field = self.find(&format!("main [name='{name}']")).await;
        if !field.is_displayed().await.unwrap() {
            self.press("Advanced").await;
        }
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Types into the field with this id.
    pub(crate) async fn fill_id(&self, id: &str, text: &str) {
        self.find(&format!("#{id}")).await.send_keys(text).await.unwrap();
    }

    /// All that the page says.
    pub(crate) async fn text(&self) -> String {
        // It may be gone at once, when the page loads another one.
        match self.driver.find(By::Css("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// Asks the admin API, from the page.
    pub(crate) async fn api(&self, key: &str, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() { Value::Null } else { body.to_string().into() };
        let options = json!({
            "method": method, "body": body, "headers": { "authorization": format!("Bearer {key}") },
        });
        self.run(&format!(
            "return fetch('/api/v1{path}', {options}).then((answer) => answer.json())"
        ))
        .await
    }

    /// Waits until the page says something, without loading it again.
    pub(crate) async fn wait_for(&self, words: &str) {
        let began = Instant::now();
        while !self.text().await.contains(words) {
            assert!(
                began.elapsed() < PATIENCE,
                "{words:?} does not come at {}:\n{}",
                self.place().await,
                self.text().await
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the page no longer says something, without loading it again.
    pub(crate) async fn wait_without(&self, words: &str) {
        let began = Instant::now();
        loop {
            let text = self.text().await;
            // Nothing is read of a page that is being loaded.
            if !text.is_empty() && !text.contains(words) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{words:?} stays at {}", self.place().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until the browser is at a place that begins so.
    pub(crate) async fn wait_at(&self, place: &str) {
        let began = Instant::now();
        while !self.place().await.starts_with(place) {
            let here = self.place().await;
            let is_early = began.elapsed() < PATIENCE;
            assert!(is_early, "at {here}, not at {place}: {}", self.text().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Loads the page again and again until it says something.
    pub(crate) async fn reload_until(&self, words: &str) {
        let began = Instant::now();
        while !self.text().await.contains(words) {
            let here = self.place().await;
            assert!(began.elapsed() < PATIENCE, "{words:?} does not come at {here}");
            tokio::time::sleep(Duration::from_millis(200)).await;
            self.driver.refresh().await.unwrap();
        }
    }

    pub(crate) async fn sign_in(&self, key: &str) {
        self.go("/sign-in").await;
        self.fill("key", key).await;
        self.click("main button").await;
        self.find("header .out").await;
    }

    pub(crate) async fn set_up_gitlab(&self, w: &World) {
        self.go("/gitlab").await;
        self.fill("api_host", w.gitlab.base_url()).await;
        self.fill("token", &w.token).await;
        self.press("Save").await;
        self.wait_for("Saved: connected").await;
    }

    pub(crate) async fn make_stack(&self, name: &str) {
        self.go("/stacks/new").await;
        self.fill("name", name).await;
        self.fill("project", "acme/network").await;
        self.fill("branch", "main").await;
        self.fill("project_root", "network").await;
        let description =
            "Networks of **all offices**: see the [handbook](https://a.example/nets).";
        self.fill("description", description).await;
        self.press("Create stack").await;
        self.wait_for("Stack created.").await;
    }

    /// A picture of the whole page, to be looked at.
    pub(crate) async fn picture(&self, name: &str) {
        self.stretch().await;
        self.take_picture(name).await;
    }

    /// A picture of what is around something on a page that is longer than a picture.
    pub(crate) async fn picture_at(&self, css: &str, name: &str) {
        self.stretch().await;
        self.find(css).await.scroll_into_view().await.unwrap();
        self.take_picture(name).await;
    }

    /// Makes the window as high as the page.
    async fn stretch(&self) {
        let height = self.run("return document.documentElement.scrollHeight").await;
        if !self.screen.narrow {
            let height = height.as_u64().unwrap_or(850).clamp(500, 2400);
            self.driver
                .set_window_rect(0, 0, 1200, u32::try_from(height).unwrap() + 90)
                .await
                .unwrap();
        }
    }

    async fn take_picture(&self, name: &str) {
        let Screen { dark, narrow, .. } = self.screen;
        let suffix = match (dark, narrow) {
            (false, false) => "",
            (true, false) => "-dark",
            (false, true) => "-narrow",
            (true, true) => "-dark-narrow",
        };
        let folder = gantry_terraform::runner().with_file_name("../pictures");
        std::fs::create_dir_all(&folder).unwrap();
        let picture = self.driver.screenshot_as_png().await.unwrap();
        std::fs::write(folder.join(format!("{name}{suffix}.png")), picture).unwrap();
    }

    /// What axe-core finds that is serious or worse.
    pub(crate) async fn violations(&self) -> Vec<String> {
        self.run(&tools().axe).await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(
              (found) => done(found.violations
                .filter((v) => ['serious', 'critical'].includes(v.impact))
                .map((v) => v.id + ': ' + v.help + ' ' +
                  v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(' | '))),
              (error) => done(['axe failed: ' + error]))";
        let found = self.driver.execute_async(script, Vec::new()).await.unwrap();
        let found = found.json().as_array().cloned().unwrap_or_default();
        found.iter().map(|line| line.as_str().unwrap_or_default().to_owned()).collect()
    }
}
