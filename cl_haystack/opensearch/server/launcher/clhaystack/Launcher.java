package clhaystack;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.opensearch.Version;
import org.opensearch.common.settings.Settings;
import org.opensearch.env.Environment;
import org.opensearch.http.HttpServerTransport;
import org.opensearch.node.InternalSettingsPreparer;
import org.opensearch.node.Node;
import org.opensearch.plugins.Plugin;
import org.opensearch.plugins.PluginInfo;

/**
 * Runs one OpenSearch node from the class path, in the foreground, without the distribution's bootstrap (and so
 * without its refusal to run as root, its security manager and its native libraries).
 *
 * <p>Arguments: home folder (holds config/opensearch.yml), process id of the owner, what to do when the owner dies
 * without detaching ("keep" or "delete" the home), how the constructor of Node takes plugins ("info" or "class"),
 * then one argument per plugin: its class, followed by "&lt;" and a class for each plugin that it extends.
 *
 * <p>Once HTTP is bound, the port is in the file "http.port" of the home folder.
 */
public final class Launcher {
    private static final long CLOSE_SECONDS = 20;

    private Launcher() {}

    public static void main(String[] arguments) {
        try {
            run(arguments);
        } catch (Throwable problem) {
            problem.printStackTrace();
            System.err.println("OpenSearch did not start: " + rootOf(problem)); // last, where a reader looks first
            System.err.flush();
            Runtime.getRuntime().halt(1); // no hook: the node never ran
        }
    }

    private static Throwable rootOf(Throwable problem) {
        Throwable root = problem;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return root;
    }

    private static void run(String[] arguments) throws Exception {
        Path home = Path.of(arguments[0]);
        Owner owner = new Owner(Long.parseLong(arguments[1]));
        boolean deleteOrphan = arguments[2].equals("delete");
        boolean asInfo = arguments[3].equals("info");
        AtomicReference<Node> running = new AtomicReference<>();
        CountDownLatch closed = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            close(running.get());
            if (deleteOrphan && owner.isGone()) {
                Folders.delete(home);
            }
            closed.countDown();
        }));
        owner.watch(); // after the hook: the owner may be gone already

        Environment environment = InternalSettingsPreparer.prepareEnvironment(
                Settings.EMPTY, Map.of("path.home", home.toString()), home.resolve("config"), () -> "node");
        List<Object> plugins = new ArrayList<>();
        for (String plugin : List.of(arguments).subList(4, arguments.length)) {
            plugins.add(asInfo ? pluginInfo(plugin) : Class.forName(plugin.split("<")[0]));
        }
        Node node = new ClassPathNode(environment, plugins);
        running.set(node);
        node.start();
        announce(home, node.injector().getInstance(HttpServerTransport.class).boundAddress().publishAddress().getPort());
        closed.await();
    }

    private static PluginInfo pluginInfo(String argument) {
        List<String> names = List.of(argument.split("<"));
        String name = names.get(0);
        List<String> extended = names.subList(1, names.size());
        return new PluginInfo(name, "class path plugin", "NA", Version.CURRENT, "11", name, null, extended, false);
    }

    private static void announce(Path home, int port) throws Exception {
        Path draft = home.resolve("http.port.part");
        Files.writeString(draft, Integer.toString(port));
        Files.move(draft, home.resolve("http.port"), StandardCopyOption.ATOMIC_MOVE);
    }

    private static void close(Node node) {
        if (node == null) {
            return;
        }
        try {
            node.close();
            node.awaitClose(CLOSE_SECONDS, TimeUnit.SECONDS);
        } catch (Exception problem) {
            problem.printStackTrace();
        }
    }

    /** The collection holds PluginInfo in 3.x and Class in 2.x: erased, both constructors are the same. */
    private static final class ClassPathNode extends Node {
        @SuppressWarnings({"unchecked", "rawtypes"})
        ClassPathNode(Environment environment, Collection plugins) {
            super(environment, plugins, false);
        }
    }
}
