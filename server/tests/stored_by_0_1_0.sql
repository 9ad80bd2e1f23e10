PRAGMA application_id = 2081102453;
PRAGMA user_version = 6;
BEGIN TRANSACTION;
CREATE TABLE emptied (
            relation TEXT NOT NULL,
            owner    TEXT NOT NULL,
            PRIMARY KEY (relation, owner)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "emptied" VALUES('tallies','admin');
CREATE TABLE jobs (
            owner           TEXT NOT NULL,
            ordinal         INTEGER NOT NULL,
            id              TEXT NOT NULL,
            created_at      REAL NOT NULL,
            delay           REAL NOT NULL,
            outcome         TEXT NOT NULL CHECK (outcome IN ('completed', 'error')),
            cancelled_at    REAL,
            source_language TEXT,
            target_language TEXT,
            video_length    REAL,
            idempotency_key TEXT,
            fingerprint     BLOB, message TEXT, held_at REAL, held_for REAL NOT NULL DEFAULT 0, changed_at REAL NOT NULL DEFAULT 0,
            PRIMARY KEY (owner, ordinal),
            UNIQUE (owner, id)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "jobs" VALUES('admin',1,'4bf425b3-ed1e-491b-8a35-50e9905a3649',1.79581436957440543173e+09,0.0,'completed',NULL,NULL,NULL,NULL,'k',X'095D97914C234CBACFD47A75993A661E20BD3FDBB34006F6AE83C169EF65F155',NULL,1.79581436957440543173e+09,0.0,1.79581436957440543173e+09);
INSERT INTO "jobs" VALUES('admin',2,'one',1.79581436957852315903e+09,1800.0,'completed',1.79581436959419441226e+09,NULL,NULL,NULL,NULL,NULL,NULL,1.79581436957852315903e+09,0.0,1.79581436959419441226e+09);
CREATE TABLE owners (
            name TEXT PRIMARY KEY,
            jobs INTEGER NOT NULL
        , world TEXT, requests INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0, kept_under TEXT, counted_under TEXT) STRICT, WITHOUT ROWID
        ;
INSERT INTO "owners" VALUES('admin',2,'{"begun":0.0,"settings":{"hold":true,"seed":"look","lateness_worth":0.5,"day":"flaky","faults":[{"route":["look"],"nth":[2],"probability":1.0,"after":0.0,"code":503,"headers":{},"kind":"status"},{"route":["bulk","look"],"nth":[9],"probability":1.0,"after":0.0,"times":1,"word":"bulk","kind":"unknown-status"}]},"clock":{"settings":[{"real":0.0,"moment":0.0,"speed":1.0,"frozen":false}]},"since":1795814369.5683231}',8,1,NULL,'admin1');
CREATE TABLE requests (
            owner  TEXT NOT NULL,
            number INTEGER NOT NULL,
            entry  TEXT NOT NULL,
            PRIMARY KEY (owner, number)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "requests" VALUES('admin',1,'{"action":"submit","dialect":"start","key":"k","digest":"c67e5fd5d56d8744","hint":1800.0,"agent":"old","at":1795814369.5718615,"moment":1795814369.5718615,"took":0.0033910240017576143,"method":"POST","path":"/start","status":202,"faults":[],"jobs":[{"job_id":"4bf425b3-ed1e-491b-8a35-50e9905a3649","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',2,'{"action":"submit","dialect":"translate","digest":"55e2032f494424ef","hint":1800.0,"agent":"old","at":1795814369.576482,"moment":1795814369.576482,"took":0.0026825550012290478,"method":"POST","path":"/translate","status":202,"faults":[],"jobs":[{"job_id":"one","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',3,'{"action":"look","dialect":"translate","hint":1799.9972920417786,"agent":"old","at":1795814369.5801125,"moment":1795814369.5801125,"took":0.001250812998478068,"method":"GET","path":"/job/one","status":200,"faults":[],"jobs":[{"job_id":"one","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',4,'{"action":"look","dialect":"translate","agent":"old","at":1795814369.582213,"moment":1795814369.582213,"took":0.0006177850009407848,"method":"GET","path":"/job/one","status":503,"faults":["status"],"jobs":[]}');
INSERT INTO "requests" VALUES('admin',5,'{"action":"look","dialect":"translate","hint":1799.994428396225,"agent":"old","at":1795814369.5835316,"moment":1795814369.5835316,"took":0.0007151390018407255,"method":"GET","path":"/job/one","status":200,"faults":[],"jobs":[{"job_id":"one","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',6,'{"action":"bulk","dialect":"start","hint":1799.9883399009705,"agent":"old","at":1795814369.58511,"moment":1795814369.58511,"took":0.005268405999231618,"method":"GET","path":"/jobs","status":200,"faults":[],"jobs":[{"job_id":"one","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',7,'{"action":"list","dialect":"start","agent":"old","at":1795814369.591224,"moment":1795814369.591224,"took":0.0009595020019332878,"method":"GET","path":"/jobs","status":200,"faults":[],"jobs":[{"job_id":"one","state":"pending"},{"job_id":"4bf425b3-ed1e-491b-8a35-50e9905a3649","state":"pending"}]}');
INSERT INTO "requests" VALUES('admin',8,'{"action":"cancel","dialect":"start","agent":"old","at":1795814369.5929022,"moment":1795814369.5929022,"took":0.0021850480006833095,"method":"DELETE","path":"/jobs/one","status":200,"faults":[],"jobs":[{"job_id":"one","state":"cancelled","ended_at":1795814369.5941944}]}');
CREATE TABLE tallies (
            owner   TEXT NOT NULL,
            subject TEXT NOT NULL,
            count   INTEGER NOT NULL,
            PRIMARY KEY (owner, subject)
        ) STRICT, WITHOUT ROWID
        ;
INSERT INTO "tallies" VALUES('admin1','bulk 0',1);
INSERT INTO "tallies" VALUES('admin1','cancel 2',1);
INSERT INTO "tallies" VALUES('admin1','list 0',1);
INSERT INTO "tallies" VALUES('admin1','look 2',3);
INSERT INTO "tallies" VALUES('admin1','rule 0',1);
INSERT INTO "tallies" VALUES('admin1','submit 0',2);
CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_by_end ON jobs (
            owner,
            coalesce(cancelled_at, CASE WHEN held_at IS NULL THEN created_at + delay + held_for ELSE 1e+300 END)
        )
        ;
CREATE INDEX jobs_amended ON jobs (owner, changed_at) WHERE changed_at <> created_at;
CREATE INDEX jobs_by_outcome ON jobs (owner, outcome, ordinal);
CREATE INDEX jobs_cancelled ON jobs (owner, ordinal) WHERE cancelled_at IS NOT NULL;
COMMIT;
