//! Which call is answered by what.

use crate::provider::Provider;
use hyper::body::Incoming;
use prost::Message;
use std::sync::Arc;
use tonic::{Request, Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tower::service_fn;

/// Answers one call of the tool.
pub(crate) async fn call(
    request: http::Request<Incoming>,
    provider: Arc<Provider>,
) -> http::Response<Body> {
    let path = request.uri().path().to_owned();
    if path == "/plugin.GRPCController/Shutdown" {
        // It closes the connection next, which is the end.
        return unary(request, provider, Provider::nothing_to_say).await;
    }
    let Some(name) = path.strip_prefix("/tfplugin6.Provider/") else {
        return Status::unimplemented(path).into_http();
    };
    match name {
        "GetProviderSchema" => unary(request, provider, Provider::schemas).await,
        "GetResourceIdentitySchemas" => unary(request, provider, Provider::identities).await,
        "ValidateProviderConfig" => unary(request, provider, Provider::nothing_to_say).await,
        "ConfigureProvider" => unary(request, provider, Provider::configure).await,
        "StopProvider" => unary(request, provider, Provider::stop).await,
        "ValidateResourceConfig" => unary(request, provider, Provider::validate).await,
        "UpgradeResourceState" => unary(request, provider, Provider::upgrade_state).await,
        "UpgradeResourceIdentity" => unary(request, provider, Provider::upgrade_identity).await,
        "ReadResource" => unary(request, provider, Provider::read).await,
        "PlanResourceChange" => unary(request, provider, Provider::plan).await,
        "ApplyResourceChange" => unary(request, provider, Provider::apply).await,
        "ImportResourceState" => unary(request, provider, Provider::import).await,
        "MoveResourceState" => unary(request, provider, Provider::move_state).await,
        "ValidateDataResourceConfig" | "ValidateEphemeralResourceConfig" => {
            unary(request, provider, Provider::nothing_to_say).await
        }
        "ReadDataSource" => unary(request, provider, Provider::read_data).await,
        "OpenEphemeralResource" => unary(request, provider, Provider::open).await,
        "CloseEphemeralResource" => unary(request, provider, Provider::close).await,
        "ValidateActionConfig" | "PlanAction" => {
            unary(request, provider, Provider::check_action).await
        }
        "InvokeAction" => stream(request, provider, Provider::invoke).await,
        _ => Status::unimplemented(path).into_http(),
    }
}

async fn unary<Q, A, F>(
    request: http::Request<Incoming>,
    provider: Arc<Provider>,
    answer: fn(Arc<Provider>, Q) -> F,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Future<Output = A>,
{
    let service = service_fn(move |asked: Request<Q>| {
        let answer = answer(Arc::clone(&provider), asked.into_inner());
        async { Ok::<_, Status>(Response::new(answer.await)) }
    });
    grpc::<Q, A>().unary(service, request).await
}

async fn stream<Q, A, F>(
    request: http::Request<Incoming>,
    provider: Arc<Provider>,
    answer: fn(Arc<Provider>, Q) -> F,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    F: Future<Output = Vec<A>>,
{
    let service = service_fn(move |asked: Request<Q>| {
        let answer = answer(Arc::clone(&provider), asked.into_inner());
        async {
            Ok::<_, Status>(Response::new(tokio_stream::iter(answer.await.into_iter().map(Ok))))
        }
    });
    grpc::<Q, A>().server_streaming(service, request).await
}

/// A state may be large.
fn grpc<Q: Message + Default + 'static, A: Message + 'static>() -> Grpc<ProstCodec<A, Q>> {
    Grpc::new(ProstCodec::default()).max_decoding_message_size(usize::MAX)
}
