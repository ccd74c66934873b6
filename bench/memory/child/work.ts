/** Something to do again and again. */

/** Does it so often. When it resolves nothing is under way any more. */
export type Work = (times: number) => Promise<void>
