/** Who sets a tested Duet up. */
export const owner = { name: "Ada", email: "ada@example.org", password: "correct horse battery", companion: "Juno" };
