//! The dashboard's files, embedded in the binary at build time.
//!
//! Files under `assets/` carry a hash in their name and are cached for ever; the page itself is
//! asked for again each time. Addresses that name no file are pages of the single-page program and
//! get `index.html`. A binary built without the dashboard says how to build it.

use crate::problem::Problem;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "../dashboard/dist/"]
struct Dist;

const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

const NOT_BUILT: &str = "<!doctype html><html lang=en><meta charset=utf-8>\
<meta name=viewport content='width=device-width,initial-scale=1'><title>Fogline</title>\
<h1>The dashboard is not in this binary</h1>\
<p>Build it and then the binary again:</p><pre>cargo xtask dashboard\ncargo build -p cloud-server</pre>\
<p>The API works without it: see <a href=/v1/openapi.json>/v1/openapi.json</a> after logging in.</p></html>";

fn content_type(path: &str) -> HeaderValue {
    let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
    HeaderValue::from_static(match ending {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "webmanifest" => "application/manifest+json",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

/// Whether the client takes Brotli; a weight of 0 means that it does not.
fn takes_brotli(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| {
            text.split(',').map(str::trim).any(|coding| {
                let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
                name.trim() == "br"
                    && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
            })
        })
}

fn file(path: &str, request: &HeaderMap) -> Option<Response> {
    let plain = Dist::get(path)?;
    let tag = format!(
        "\"{}\"",
        plain
            .metadata
            .sha256_hash()
            .iter()
            .take(12)
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    );
    let packed = takes_brotli(request)
        .then(|| Dist::get(&format!("{path}.br")))
        .flatten();
    let known = request
        .get(header::IF_NONE_MATCH)
        .is_some_and(|seen| seen.as_bytes() == tag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else if let Some(packed) = packed {
        let mut response = packed.data.into_owned().into_response();
        response
            .headers_mut()
            .insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
        response
    } else {
        plain.data.into_owned().into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(path));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(
        header::CACHE_CONTROL,
        if path.starts_with("assets/") {
            FOR_EVER
        } else {
            ASK_AGAIN
        },
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    Some(response)
}

/// Whatever no route of the API takes.
pub(crate) async fn serve(request: Request) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let of_the_api = path == "v1" || path.starts_with("v1/");
    if of_the_api || path.starts_with("assets/") && Dist::get(path).is_none() {
        return Problem::of_status(StatusCode::NOT_FOUND).into_response();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Problem::of_status(StatusCode::METHOD_NOT_ALLOWED).into_response();
    }
    let wanted = if path.is_empty() { "index.html" } else { path };
    file(wanted, request.headers())
        .or_else(|| file("index.html", request.headers()))
        .unwrap_or_else(|| (StatusCode::OK, Html(NOT_BUILT)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brotli_is_sent_only_to_who_takes_it() {
        for (accept, takes) in [
            ("gzip, deflate, br", true),
            ("br;q=0, gzip", false),
            ("gzip", false),
            ("br;q=0.5", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(accept));
            assert_eq!(takes_brotli(&headers), takes, "{accept}");
        }
    }
}
