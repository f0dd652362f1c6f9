/** The owner of a tested installation. */
export const owner = { name: "Ada", email: "ada@example.org", password: "correct horse battery", companion: "Juno" };
/** The person they invite. */
export const guest = { name: "Bea", email: "bea@example.org", password: "a quiet river at night" };
