/** Express and Sequelize, as an application that has no idea how it logs in: its database is that of DATABASE_URL. */
'use strict'
const express = require('express')
const { DataTypes, Sequelize } = require('sequelize')

const url = process.env.DATABASE_URL
const sequelize = new Sequelize(url, {
  dialect: 'postgres',
  logging: false,
  pool: { max: 3 },
  // What Aurora DSQL needs of Sequelize 6, however one logs in: it refuses the statements that set these.
  ...(url.includes('.dsql.')
    ? { dialectOptions: { clientMinMessages: 'ignore' }, keepDefaultTimezone: true }
    : {}),
})
const Note = sequelize.define(
  'note',
  {
    id: { type: DataTypes.UUID, primaryKey: true, defaultValue: DataTypes.UUIDV4 },
    body: { type: DataTypes.TEXT, allowNull: false },
  },
  { tableName: 'express_notes', timestamps: false },
)

const app = express()
app.use(express.json())
app.post('/notes', async (request, response) => {
  response.status(201).json(await Note.create({ body: request.body.body }))
})
app.get('/notes', async (_request, response) => {
  response.json(await Note.findAll())
})
app.get('/notes/:id', async (request, response) => {
  const note = await Note.findByPk(request.params.id)
  response.status(note === null ? 404 : 200).json(note)
})
app.put('/notes/:id', async (request, response) => {
  const where = { id: request.params.id }
  await sequelize.transaction((transaction) => Note.update(request.body, { where, transaction }))
  response.status(204).end()
})
app.delete('/notes/:id', async (request, response) => {
  await Note.destroy({ where: { id: request.params.id } })
  response.status(204).end()
})

async function main() {
  await sequelize.query(
    'CREATE TABLE IF NOT EXISTS express_notes (id uuid PRIMARY KEY, body text NOT NULL)',
  )
  const server = app.listen(Number(process.env.PORT), '127.0.0.1', () => {
    console.log(`listening on port ${server.address().port}`)
  })
  process.once('SIGTERM', () => {
    server.close(() => sequelize.close())
    server.closeIdleConnections()
  })
}

main()
