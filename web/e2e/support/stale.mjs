// A sign-in that is too old.

/** Answers the next request with that method and address as the API does if the sign-in is too old; later ones reach the API. */
export function refuseOnce(page, address, method) {
  let refused = false;
  return page.route(address, (route) => {
    if (refused || route.request().method() !== method) return route.fallback();
    refused = true;
    return route.fulfill({
      status: 403,
      contentType: "application/problem+json",
      json: {
        type: "https://duet.invalid/problems/sign_in_again",
        title: "Sign in again",
        status: 403,
        code: "sign_in_again",
        detail: "Sign in again, then repeat: this needs a sign-in of the last 15 minutes.",
      },
    });
  });
}
