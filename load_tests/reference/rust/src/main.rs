//! Allows everything: every request is read, and every answer is built and written, with three headers.
//!
//!     noop PORT

use std::error::Error;
use std::net::Ipv4Addr;

use tonic::transport::Server;
use tonic::{Request, Response, Status};

#[allow(clippy::all, dead_code)]
mod protos {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

use protos::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use protos::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use protos::envoy::service::auth::v3::check_response::HttpResponse;
use protos::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};

const HEADERS: [(&str, &str); 3] = [
    ("x-auth-sub", "7d8ca528-4931-4254-9273-ea5ee853f271"),
    ("x-auth-email", "ada@example.com"),
    ("x-auth-username", "ada"),
];
const OVERWRITE_IF_EXISTS_OR_ADD: i32 = 2;

struct Noop {
    answer: CheckResponse,
}

#[tonic::async_trait]
impl Authorization for Noop {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        std::hint::black_box(request.get_ref());
        Ok(Response::new(self.answer.clone()))
    }
}

fn allow() -> CheckResponse {
    let headers = HEADERS
        .iter()
        .map(|(name, value)| HeaderValueOption {
            header: Some(HeaderValue { key: name.to_string(), value: value.to_string(), ..Default::default() }),
            append_action: OVERWRITE_IF_EXISTS_OR_ADD,
            ..Default::default()
        })
        .collect();
    CheckResponse {
        status: Some(Default::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse { headers, ..Default::default() })),
        ..Default::default()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("usage: noop PORT")?.parse()?;
    Server::builder()
        .add_service(AuthorizationServer::new(Noop { answer: allow() }))
        .serve((Ipv4Addr::LOCALHOST, port).into())
        .await?;
    Ok(())
}
