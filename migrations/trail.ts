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

  /** Whether the client has been sent rows, or that there are none, on which its next statement may depend. */
  get hasRead(): boolean {
    return this.#hasRead
  }

  /** After a statement about the client's own tables, whose answers differ from run to run: the next one begins a new trail. */
  end(): void {
    this.#isOver = true
  }

  /** A message of the client. */
  sent(message: Buffer, beginsStatement: boolean): void {
    if (this.#isOver && beginsStatement) {
      this.#sent = createHash('sha256')
      this.#received = createHash('sha256')
      this.#isOver = false
      this.#hasRead = false
    }
    this.#sent.update(message)
  }

  /** The server answers with rows. */
  rows(): void {
    this.#hasRead = true
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
