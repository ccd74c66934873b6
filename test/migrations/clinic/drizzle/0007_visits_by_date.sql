CREATE INDEX "visits_date" ON "visits" USING btree ("visit_date","pet_id");--> statement-breakpoint
ALTER TABLE "pets" ADD CONSTRAINT "pets_owner_name" UNIQUE("owner_id","name");
