import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.util.Properties;

/** Arguments: port, authority, user, password. Prints what it reads. */
class Jdbc {
  public static void main(String[] given) throws Exception {
    String url = "jdbc:postgresql://localhost:" + given[0] + "/postgres?sslmode=verify-full&sslrootcert=" + given[1];
    Properties properties = new Properties();
    properties.setProperty("user", given[2]);
    properties.setProperty("password", given[3]);
    try (Connection connection = DriverManager.getConnection(url, properties)) {
      connection.setAutoCommit(false);
      try (PreparedStatement statement = connection.prepareStatement("SELECT n::int4, ? || n FROM generate_series(1, 25) AS n")) {
        statement.setFetchSize(10);
        int sum = 0;
        // After five executions the driver uses a named statement and binary results.
        for (int round = 0; round < 8; round++) {
          statement.setString(1, "row ");
          try (ResultSet rows = statement.executeQuery()) {
            while (rows.next()) sum += rows.getInt(1) + rows.getString(2).length();
          }
        }
        System.out.println(sum);
      }
      connection.commit();
      try (PreparedStatement statement = connection.prepareStatement("SELECT 1 / 0")) {
        statement.executeQuery();
      } catch (SQLException error) {
        System.out.println(error.getSQLState());
      }
      connection.rollback();
    }
  }
}
