//! The template, deployed as far as that is possible on one machine: the real Lambda programs run
//! under `cargo lambda watch`, with the environment, queues, bucket, secrets and roles that
//! CloudFormation makes of `template.yaml` on moto's server. The table is dynoxide.
//!
//! moto's FIFO queues keep no order after a visibility timeout, and forget a deduplication id with its
//! message (`findings/moto-*`): what depends on either is tested on the queues of one machine, which
//! do as SQS documents.
//!
//! What AWS does around the functions is done here in small: API Gateway ([`front`]), the event
//! source mappings ([`mapping`]) and CodeBuild ([`codebuild`]). Every call of a function goes over
//! the [`wire`], which writes it down, so that [`policy`] can tell whether its role allows it.

#![expect(clippy::print_stderr, reason = "tests show what programs say")]

pub mod cloud;
pub mod codebuild;
pub mod deployed;
pub mod front;
pub mod functions;
pub mod mapping;
pub mod policy;
pub mod tools;
pub mod wire;

pub use cloud::Cloud;
