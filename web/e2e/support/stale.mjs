// A sign-in that is too long ago.

/** Answers the next request of that method and address as the API does where a sign-in is too long ago; later ones reach it. */
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
