package clhaystack;

import java.io.IOException;
import java.util.Optional;

/**
 * The process that started this one. Until it detaches us, its death is ours, however it died.
 *
 * <p>Two signs, because each has a blind spot: standard input (its end closes with the owner, but a forked child of
 * the owner may hold it open) and the process id (a killed owner may stay in the table as a zombie).
 */
final class Owner {
    private static final String DETACH = "detach";
    private static final long POLL_MILLISECONDS = 500;
    private static final long DETACH_MILLISECONDS = 2_000;
    private static final long EXIT_MILLISECONDS = 15_000;

    private final Optional<ProcessHandle> process;
    private volatile boolean detached = false;
    private volatile boolean gone = false;

    Owner(long processId) {
        process = ProcessHandle.of(processId);
    }

    boolean isGone() {
        return gone;
    }

    void watch() {
        daemon("owner-input", this::readInput).start();
        daemon("owner-process", this::pollProcess).start();
    }

    private void readInput() {
        StringBuilder line = new StringBuilder();
        try {
            for (int next = System.in.read(); next >= 0; next = System.in.read()) {
                if (next != '\n') {
                    line.append((char) next);
                } else if (line.toString().equals(DETACH)) {
                    detached = true;
                    return;
                }
            }
        } catch (IOException problem) {
            problem.printStackTrace();
        }
        leave();
    }

    private void pollProcess() {
        try {
            while (!detached) {
                if (process.isEmpty() || !process.get().isAlive()) {
                    Thread.sleep(DETACH_MILLISECONDS); // its last word may be unread yet
                    leave();
                    return;
                }
                Thread.sleep(POLL_MILLISECONDS);
            }
        } catch (InterruptedException problem) {
            Thread.currentThread().interrupt();
        }
    }

    private synchronized void leave() {
        if (detached || gone) {
            return;
        }
        gone = true;
        System.err.println("the process that owns this server is gone: leaving");
        daemon("owner-exit", () -> System.exit(3)).start();
        daemon("owner-halt", () -> {
            try {
                Thread.sleep(EXIT_MILLISECONDS); // a close that hangs must not keep an orphan
            } catch (InterruptedException problem) {
                Thread.currentThread().interrupt();
            }
            Runtime.getRuntime().halt(3);
        }).start();
    }

    private static Thread daemon(String name, Runnable work) {
        Thread thread = new Thread(work, name);
        thread.setDaemon(true);
        return thread;
    }
}
