/**
 * What a client has sent and been told since its migration began, as a hash.
 *
 * A migration is a program. If it has sent and been told the same as in an earlier run, its next statement is the one of that run: then a
 * statement that has changed rows there need not, and must not, change them again.
 */
import { createHash, type Hash } from 'node:crypto'

export class Trail {
  #sent: Hash = createHash('sha256')
  #received: Hash = createHash('sha256')
  #isOver = false
  #hasRead = false

  /** Whether the client has asked for rows, on which its next statement may depend. */
  get hasRead(): boolean {
    return this.#hasRead
  }

  /** After a statement about the client's own tables, whose answers differ from run to run: the next one begins a new trail. */
  end(): void {
    this.#isOver = true
  }

  /** A message of the client. `sql`: the text of the statement that begins with it. */
  sent(message: Buffer, sql: string | undefined): void {
    if (this.#isOver && sql !== undefined) {
      this.#sent = createHash('sha256')
      this.#received = createHash('sha256')
      this.#isOver = false
      this.#hasRead = false
    }
    this.#hasRead ||= sql !== undefined && QUERY.test(sql)
    this.#sent.update(message)
  }

  /** What the client is told. How it is split makes no difference. */
  received(bytes: Buffer): void {
    this.#received.update(bytes)
  }

  /** While no answer is outstanding. */
  digest(): string {
    return createHash('sha256')
      .update(this.#sent.copy().digest())
      .update(this.#received.copy().digest())
      .digest('hex')
  }
}

/** A text that begins with a query, after comments. */
const QUERY = /^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*(?:select|with|values|show|table)\b/is
