/** The application context of Nest reads and writes through a model of Sequelize. */
import 'reflect-metadata'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import { getModelToken, SequelizeModule } from '@nestjs/sequelize'
import { sequelizeTransaction } from 'pg-iam/sequelize'
import { Column, DataType, Model, PrimaryKey, Sequelize, Table } from 'sequelize-typescript'
import { DatabaseModule } from './nest-sequelize.js'
import { report } from './report.js'

@Table({ tableName: 'nest_sequelize', timestamps: false })
class Note extends Model {
  @PrimaryKey @Column(DataType.INTEGER) declare id: number
  @Column(DataType.TEXT) declare body: string
}

@Module({ imports: [DatabaseModule, SequelizeModule.forFeature([Note])] })
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: false })
const notes = app.get<typeof Note>(getModelToken(Note))
await sequelizeTransaction(app.get(Sequelize), (transaction) =>
  notes.create({ id: 1, body: 'one' }, { transaction }),
)
const found = await notes.findAll({ raw: true })
await app.close()
report(found)
