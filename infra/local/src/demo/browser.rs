//! Somebody at Gantry's pages, as their browser is there: it signs in with GitLab, and presses buttons.

use anyhow::{Context as _, bail};
use reqwest::{RequestBuilder, Response, Url, header, redirect::Policy};
use std::{collections::BTreeMap, time::Duration};

/// Where GitLab sends people back to.
const CALLBACK: &str = "/sign-in/gitlab/callback";

/// The browser of somebody who has signed in.
pub(super) struct Browser {
    http: reqwest::Client,
    gantry: String,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    /// Signs in with GitLab: chooses there who it is, and lets Gantry know.
    pub(super) async fn sign_in(gantry: &str, who: &str) -> anyhow::Result<Self> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .user_agent("the demo's story")
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let mut browser = Self { http, gantry: gantry.to_owned(), cookies: BTreeMap::new() };
        let at_gitlab = browser.led_on("/sign-in/gitlab?next=").await?;
        let back = browser.authorize(&at_gitlab, who).await?;
        let (_, answer) = back.split_once(CALLBACK).context("GitLab leads somewhere else")?;
        browser.led_on(&format!("{CALLBACK}{answer}")).await?;
        Ok(browser)
    }

    /// Presses *Authorize* on GitLab's page; where that leads.
    async fn authorize(&self, page: &str, who: &str) -> anyhow::Result<String> {
        let mut asked = Url::parse(page)?;
        let shown = self.http.get(asked.clone()).send().await?.text().await?;
        if !shown.contains(&format!("<option value=\"{who}\">")) {
            bail!("GitLab's page does not ask whether somebody is {who}: {shown}");
        }
        // The form repeats what the address asks for.
        asked.query_pairs_mut().append_pair("user", who);
        let form = asked.query().unwrap_or_default().to_owned();
        asked.set_query(None);
        let form = self
            .http
            .post(asked)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form);
        leads_to(&form.send().await?)
    }

    /// Where an address leads, with the cookies that it gives.
    async fn led_on(&mut self, path: &str) -> anyhow::Result<String> {
        let answer = self.send(self.http.get(self.at(path))).await?;
        for cookie in answer.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str()?.split(';').next().unwrap_or_default();
            match pair.split_once('=') {
                Some((name, "")) => drop(self.cookies.remove(name)),
                Some((name, value)) => {
                    self.cookies.insert(name.to_owned(), value.to_owned());
                }
                None => {}
            }
        }
        leads_to(&answer)
    }

    /// What a page shows.
    pub(super) async fn page(&self, path: &str) -> anyhow::Result<String> {
        let answer = self.send(self.http.get(self.at(path))).await?;
        let status = answer.status();
        let page = answer.text().await?;
        if !status.is_success() {
            bail!("{path} answered {status}: {page}");
        }
        Ok(page)
    }

    /// Fills in the form of a page that leads to this address, and sends it.
    pub(super) async fn press(
        &self,
        path: &str,
        form: &str,
        fields: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        let page = self.page(path).await?;
        if !page.contains(&format!("{}\"", form.trim_start_matches('/'))) {
            bail!("{path} has no form for {form}: {page}");
        }
        let token = page.split_once("name=\"_token\" value=\"").map(|(_, rest)| rest);
        let token = token.and_then(|rest| rest.split('"').next()).context("no form's token")?;
        let mut sent = vec![("_token", token)];
        sent.extend(fields);
        let answer = self.send(self.http.post(self.at(form)).form(&sent)).await?;
        let status = answer.status();
        if !status.is_redirection() {
            bail!("{form} answered {status}: {}", answer.text().await?);
        }
        Ok(())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.gantry)
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        let cookies = cookies.collect::<Vec<_>>().join("; ");
        let request = match cookies.as_str() {
            "" => request,
            cookies => request.header(header::COOKIE, cookies),
        };
        Ok(request.send().await?)
    }
}

fn leads_to(answer: &Response) -> anyhow::Result<String> {
    let to = answer.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
    match to {
        Some(to) if answer.status().is_redirection() => Ok(to.to_owned()),
        _ => bail!("{} answered {}", answer.url().path(), answer.status()),
    }
}
