/** Who sets a tested Duet up. */
export const owner = { name: "Ada", email: "ada@example.org", password: "correct horse battery", companion: "Juno" };
/** Whom they invite. */
export const guest = { name: "Bea", email: "bea@example.org", password: "a quiet river at night" };
