//! The floor of `webhook`: a function that sends the raw body to the queue and answers.
//!
//! Settings: `GANTRY_QUEUE_EVENTS_URL`.

use gantry_setup::{Environment, aws};
use lambda_http::{Body, Error, Request, RequestExt as _, Response, run, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let queue = Environment.required("GANTRY_QUEUE_EVENTS_URL", "the address of an SQS queue")?;
    let sqs = aws_sdk_sqs::Client::new(&aws::from_environment().await);
    run(service_fn(|request: Request| async {
        let id = request.lambda_context_ref().map_or("", |context| &context.request_id).to_owned();
        let body = String::from_utf8(request.into_body().to_vec())?;
        let send = sqs.send_message().queue_url(&queue).message_body(body);
        send.message_group_id("raw").message_deduplication_id(id).send().await?;
        Ok::<_, Error>(Response::new(Body::Empty))
    }))
    .await
}
