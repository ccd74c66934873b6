/** The page of the dashboard. It has no token: the browser sends the cookie of its session, which no script can read. */
import { BarController, BarElement, CategoryScale, Chart, LinearScale, Tooltip } from 'chart.js'

Chart.register(BarController, BarElement, CategoryScale, LinearScale, Tooltip)

interface SessionTimes {
  readonly name: string
  readonly expiresAt: string
  readonly idleExpiresAt: string
  readonly tokensExpireAt: string
}

interface Sales {
  readonly session: SessionTimes
  readonly databaseUser: string
  readonly months: readonly { readonly month: string; readonly amount: number }[]
  readonly regions: readonly {
    readonly region: string
    readonly orders: number
    readonly amount: number
  }[]
}

const element = (id: string): HTMLElement => document.getElementById(id)!
const show = (id: string, text: string): void => {
  element(id).textContent = text
}
const number = new Intl.NumberFormat('en')

let times: SessionTimes | undefined
let chart: Chart | undefined

async function load(): Promise<void> {
  const response = await fetch('/api/sales')
  if (response.status === 401) {
    showVisitor()
    return
  }
  if (!response.ok) {
    const { error } = (await response.json()) as { error: string }
    element('message').classList.add('failed')
    show('message', `The data could not be loaded (${error}). Try again.`)
    return
  }
  showDashboard((await response.json()) as Sales)
}

function showVisitor(): void {
  const wasSignedIn = times !== undefined
  times = undefined
  element('dashboard').hidden = true
  element('visitor').hidden = false
  show('reason', wasSignedIn ? 'Your session has ended.' : 'Sign in with your company account.')
  show('message', '')
}

function showDashboard({ session, databaseUser, months, regions }: Sales): void {
  times = session
  element('visitor').hidden = true
  element('dashboard').hidden = false
  show('name', session.name)
  show('database-user', databaseUser)
  element('regions').replaceChildren(
    ...regions.map(({ region, orders, amount }) => {
      const row = document.createElement('tr')
      for (const [text, isNumber] of [
        [region, false],
        [number.format(orders), true],
        [number.format(amount), true],
      ] as const) {
        const cell = document.createElement('td')
        cell.textContent = text
        if (isNumber) cell.className = 'number'
        row.append(cell)
      }
      return row
    }),
  )
  showChart(months)
  showTimes()
  element('message').classList.remove('failed')
  show('message', `Loaded ${regions.length} ${regions.length === 1 ? 'region' : 'regions'}.`)
}

function showChart(months: Sales['months']): void {
  const style = getComputedStyle(document.documentElement)
  const colour = (name: string): string => style.getPropertyValue(name)
  chart?.destroy()
  chart = new Chart(element('chart') as HTMLCanvasElement, {
    type: 'bar',
    data: {
      labels: months.map(({ month }) =>
        new Date(`${month}-01T00:00:00Z`).toLocaleString('en', { month: 'short', timeZone: 'UTC' }),
      ),
      datasets: [
        {
          label: 'Amount',
          data: months.map(({ amount }) => amount),
          backgroundColor: colour('--chart'),
          borderRadius: 4,
        },
      ],
    },
    options: {
      animation: false,
      maintainAspectRatio: false,
      scales: {
        x: { grid: { display: false }, ticks: { color: colour('--chart-text') } },
        y: {
          grid: { color: colour('--chart-line') },
          border: { display: false },
          ticks: { color: colour('--chart-text'), maxTicksLimit: 6 },
        },
      },
    },
  })
  const total = months.reduce((sum, { amount }) => sum + amount, 0)
  element('chart').setAttribute('aria-label', `Sales by month, ${number.format(total)} in all`)
}

function showTimes(): void {
  if (times === undefined) return
  show('expires', timeLeft(times.expiresAt))
  show('idle', timeLeft(times.idleExpiresAt))
  show('tokens', timeLeft(times.tokensExpireAt))
}

function timeLeft(until: string): string {
  const seconds = Math.max(0, Math.round((Date.parse(until) - Date.now()) / 1_000))
  const [hours, minutes] = [Math.floor(seconds / 3_600), Math.floor((seconds % 3_600) / 60)]
  return hours > 0 ? `${hours} h ${minutes} min` : `${minutes} min ${seconds % 60} s`
}

element('refresh').addEventListener('click', () => void load())
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => void load())
setInterval(showTimes, 1_000)
await load()
