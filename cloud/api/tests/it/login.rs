//! Logging in and out, one-time passwords, lockout, sessions that end.

use crate::support::{NEW, Options, Stack};
use cloud_api::{OneTimeLogin, SessionLimits, reset_password};
use std::time::Duration;

#[tokio::test]
async fn a_one_time_password_opens_nothing_but_a_new_password_and_that_only_once() {
    let stack = Stack::with(Options {
        one_time: OneTimeLogin::MustReplace,
        ..Options::default()
    })
    .await;
    let mut client = stack.client();
    let answer = client.log_in("admin", &stack.password).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["must_set_password"], true);
    for part in [
        "__Host-fogline=",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Path=/",
    ] {
        assert!(
            answer.header("set-cookie").unwrap().contains(part),
            "{part}"
        );
    }

    let refused = client.get("/v1/gateways").await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.problem()["permission"], "new-password");

    // Spent: it does not log in a second time, also not before a new password was set.
    assert_eq!(
        stack.client().log_in("admin", &stack.password).await.status,
        401
    );

    let weak = client.post("/v1/me/password", "{\"new\":\"short\"}").await;
    assert_eq!(weak.problem()["field"], "new");
    let set = client
        .post("/v1/me/password", &format!("{{\"new\":\"{NEW}\"}}"))
        .await;
    assert_eq!(set.status, 204);
    assert_eq!(client.get("/v1/gateways").await.status, 200);
    assert_eq!(client.get("/v1/me").await.json()["one_time"], false);
    assert_eq!(stack.client().log_in("admin", NEW).await.status, 200);
}

#[tokio::test]
async fn a_demonstration_may_skip_the_new_password_but_the_one_time_password_is_spent() {
    let stack = Stack::start().await;
    let mut client = stack.client();
    let answer = client.log_in("admin", &stack.password).await;
    assert_eq!(answer.json()["must_set_password"], false);
    assert_eq!(answer.json()["one_time"], true);
    assert_eq!(client.get("/v1/gateways").await.status, 200);
    assert_eq!(
        stack.client().log_in("admin", &stack.password).await.status,
        401
    );
}

#[tokio::test]
async fn of_two_logins_at_once_with_one_one_time_password_one_wins() {
    let stack = Stack::start().await;
    let (mut a, mut b) = (stack.client(), stack.client());
    let (a, b) = tokio::join!(
        a.log_in("admin", &stack.password),
        b.log_in("admin", &stack.password)
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 401]);
}

#[tokio::test]
async fn a_reset_password_ends_every_session() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let fresh = reset_password(stack.store.as_ref(), "admin", stack.clock.now())
        .await
        .unwrap();
    assert_eq!(client.get("/v1/me").await.status, 401);
    assert_eq!(stack.client().log_in("admin", NEW).await.status, 401);
    assert_eq!(
        stack.client().log_in("admin", &fresh.password).await.status,
        200
    );
}

#[tokio::test]
async fn failures_cost_ever_longer_waits_and_the_right_password_waits_too() {
    let stack = Stack::start().await;
    stack.logged_in().await;
    let mut client = stack.client();
    let mut waits = Vec::new();
    for _ in 0..10 {
        let answer = client.log_in("admin", "guess guess guess").await;
        if answer.status == 429 {
            let problem = answer.problem();
            let wait = problem["retry_after_s"].as_u64().unwrap();
            assert_eq!(
                answer.header("retry-after"),
                Some(wait.to_string().as_str())
            );
            // Also the right password is not even looked at.
            assert_eq!(client.log_in("admin", NEW).await.status, 429);
            waits.push(wait);
            stack.clock.step(Duration::from_secs(wait));
        } else {
            assert_eq!(answer.status, 401);
            assert_eq!(answer.problem()["field"], "password");
        }
    }
    assert!(waits.len() >= 3, "{waits:?}");
    assert!(
        waits.windows(2).all(|pair| pair[1] >= 2 * pair[0]),
        "{waits:?}"
    );
    stack.clock.step(Duration::from_secs(900));
    assert_eq!(client.log_in("admin", NEW).await.status, 200);
    // A good login starts afresh.
    assert_eq!(
        stack
            .client()
            .log_in("admin", "wrong again, sorry")
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn an_unknown_name_is_answered_like_a_wrong_password() {
    let stack = Stack::start().await;
    let unknown = stack.client().log_in("nobody", "guess guess guess").await;
    let wrong = stack.client().log_in("admin", "guess guess guess").await;
    let strip = |answer: crate::support::Answer| {
        let mut problem = answer.problem();
        problem.as_object_mut().unwrap().remove("request_id");
        problem
    };
    assert_eq!(strip(unknown), strip(wrong));
}

#[tokio::test]
async fn sessions_end_by_idleness_by_age_and_by_logout() {
    let sessions = SessionLimits {
        idle: Duration::from_secs(1800),
        absolute: Duration::from_secs(7200),
    };
    let stack = Stack::with(Options {
        sessions,
        ..Options::default()
    })
    .await;
    let client = stack.logged_in().await;
    // Used every 20 minutes it lives, but not beyond two hours.
    for _ in 0..5 {
        stack.clock.step(Duration::from_secs(1200));
        assert_eq!(client.get("/v1/me").await.status, 200);
    }
    stack.clock.step(Duration::from_secs(1201));
    assert_eq!(client.get("/v1/me").await.status, 401);

    let mut idle = stack.client();
    assert_eq!(idle.log_in("admin", NEW).await.status, 200);
    stack.clock.step(Duration::from_secs(1801));
    assert_eq!(idle.get("/v1/me").await.status, 401);

    let mut leaving = stack.client();
    assert_eq!(leaving.log_in("admin", NEW).await.status, 200);
    let left = leaving.post("/v1/logout", "{}").await;
    assert_eq!(left.status, 204);
    assert!(left.header("set-cookie").unwrap().contains("Max-Age=0"));
    assert_eq!(leaving.get("/v1/me").await.status, 401);
}

#[tokio::test]
async fn a_new_password_asks_for_the_current_one_and_ends_the_other_sessions() {
    let stack = Stack::start().await;
    let client = stack.logged_in().await;
    let mut other = stack.client();
    assert_eq!(other.log_in("admin", NEW).await.status, 200);
    let next = "{\"new\":\"another good password\"";
    let without = client.post("/v1/me/password", &format!("{next}}}")).await;
    assert_eq!(without.problem()["field"], "current");
    let wrong = client
        .post("/v1/me/password", &format!("{next},\"current\":\"x\"}}"))
        .await;
    assert_eq!(
        (wrong.status, wrong.problem()["field"].as_str()),
        (400, Some("current"))
    );
    let set = client
        .post(
            "/v1/me/password",
            &format!("{next},\"current\":\"{NEW}\"}}"),
        )
        .await;
    assert_eq!(set.status, 204);
    assert_eq!(client.get("/v1/me").await.status, 200);
    assert_eq!(other.get("/v1/me").await.status, 401);
}

#[tokio::test]
async fn login_takes_json_of_its_own_site_only() {
    let stack = Stack::start().await;
    let mut client = stack.client();
    client
        .extra
        .push(("Sec-Fetch-Site".to_owned(), "cross-site".to_owned()));
    assert_eq!(client.log_in("admin", &stack.password).await.status, 403);
    client.extra.clear();
    for (body, field) in [
        ("{", "body"),
        ("[]", "body"),
        ("{\"name\":\"admin\"}", "password"),
        ("{\"name\":1,\"password\":\"x\"}", "name"),
        (
            "{\"name\":\"admin\",\"password\":\"x\",\"admin\":\"yes\"}",
            "admin",
        ),
    ] {
        let answer = client.post("/v1/login", body).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.problem()["field"], field, "{body}");
    }
    let long = format!("{{\"name\":\"{}\",\"password\":\"x\"}}", "n".repeat(65));
    assert_eq!(
        client.post("/v1/login", &long).await.problem()["field"],
        "name"
    );
    // A form, as another site could send it without asking: the last content type counts here.
    let form = client.request("POST", "/v1/login", None).await;
    assert_eq!(form.status, 415);
}
