CREATE INDEX "owners_name" ON "owners" USING btree ("last_name","first_name");
