//! `gantry open`: a page in the browser.

use crate::{
    address::{Slug, is_page},
    args::Open,
    ended::Ended,
    error::{About as _, Error},
    run_name::{self, RunName},
    session::Session,
    show,
};

/// Opens a page, or prints its address.
pub(crate) async fn open(session: &mut Session, args: &Open) -> Result<Ended, Error> {
    let address = match &args.what {
        None => session.base().below(&[""]),
        Some(what) => address_of(session, what).await?,
    };
    if args.print {
        session.screen.result(&address)?;
        return Ok(Ended::Done);
    }
    if !is_page(&address) {
        return Err(Error::Failed("The page has no address that a browser may open.".into()));
    }
    match (session.browser)(&address) {
        Ok(()) => session.screen.note(&format!("Opened {address}")),
        Err(error) => {
            session.screen.note(&format!("No browser could be opened ({error}). The page is at:"));
            session.screen.result(&address)?;
        }
    }
    Ok(Ended::Done)
}

async fn address_of(session: &mut Session, what: &str) -> Result<String, Error> {
    if let Ok(slug) = what.parse::<Slug>() {
        for kind in ["stacks", "modules"] {
            match session.get(&[kind, slug.as_str()], &[]).await {
                Ok(_) => return Ok(session.base().below(&[kind, slug.as_str()])),
                Err(Error::Refused(refusal)) if refusal.status == 404 => {}
                Err(error) => return Err(error).about(|| format!("open {what}")),
            }
        }
    }
    let name = what.parse::<RunName>().map_err(|why| Error::Usage(format!("{what}: {why}.")))?;
    let run = run_name::find(session, &name, "open").await?;
    Ok(show::page(session, &run))
}
