using System.Buffers.Binary;
using FedLearn.Aggregation;
using FedLearn.Privacy;

namespace FedLearn.Tests.Aggregation;

/// <summary>One attempt between clients and a server in one process, step by step.</summary>
internal sealed class AggregationCase : IDisposable
{
    private readonly List<EnrolmentKey> _enrolment = [];
    private int[] _members = [];

    public AggregationCase(int clients, int threshold, int colluders = 0, int length = 40, ServerTrust trust = ServerTrust.HonestButCurious, int attempt = 0, int seed = 1)
    {
        var random = new Random(seed);
        Dictionary<int, ReadOnlyMemory<byte>> keys = [];
        // Numbers with gaps, so that a number is no place.
        int[] numbers = [.. Enumerable.Range(0, clients).Select(i => 3 * i + 2)];
        foreach (int number in numbers)
        {
            _enrolment.Add(EnrolmentKey.Create());
            keys.Add(number, _enrolment[^1].PublicKey);
        }

        Round = Terms(clients, threshold, colluders, length) with
        {
            Attempt = attempt,
            Server = trust,
            EnrolmentKeys = trust == ServerTrust.Active ? keys : new Dictionary<int, ReadOnlyMemory<byte>>(),
        };
        Server = new(Round);
        for (int i = 0; i < clients; i++)
        {
            Clients.Add(numbers[i], new(numbers[i], trust == ServerTrust.Active ? _enrolment[i] : null));
            Inputs.Add(numbers[i], [.. Enumerable.Range(0, length).Select(_ => random.NextInt64(long.MinValue, long.MaxValue))]);
        }
    }

    public AggregationRound Round { get; }

    public SecureAggregationServer Server { get; }

    public SortedDictionary<int, SecureAggregationClient> Clients { get; } = [];

    public SortedDictionary<int, long[]> Inputs { get; } = [];

    public IReadOnlyDictionary<int, AggregationMessage> Deliveries { get; private set; } = new Dictionary<int, AggregationMessage>();

    public Dictionary<int, MaskedVector> Uploads { get; } = [];

    public int[] Numbers => [.. Clients.Keys];

    public static AggregationRound Terms(int clients, int threshold, int colluders = 0, int length = 40) => new()
    {
        JobDigest = Enumerable.Range(0, 32).Select(i => (byte)(7 * i)).ToArray(),
        Round = 5,
        Attempt = 0,
        ModelVersion = 4,
        Tensors = [new("users", length - length / 3), .. length / 3 > 0 ? [new AggregationTensor("items", length / 3)] : Array.Empty<AggregationTensor>()],
        Clients = clients,
        Threshold = threshold,
        Colluders = colluders,
    };

    public AggregationMessage Keys(IReadOnlyCollection<int>? without = null)
    {
        _members = [.. Numbers.Except(without ?? [])];
        foreach (int client in _members)
            Server.AcceptKeys(client, Clients[client].Begin(Round));
        return Server.Roster();
    }

    public void Shares(AggregationMessage roster, IReadOnlyCollection<int>? without = null)
    {
        foreach (int client in _members.Except(without ?? []))
            Server.AcceptShares(client, Clients[client].Share(roster));
        Deliveries = Server.Deliveries();
    }

    public void Upload(IReadOnlyCollection<int>? without = null, IReadOnlyCollection<int>? late = null)
    {
        foreach (int client in Deliveries.Keys.Except(without ?? []))
        {
            Uploads[client] = Clients[client].Upload(Deliveries[client], Inputs[client], "test").Payload;
            if (late?.Contains(client) != true)
                Server.AcceptUpload(client, Uploads[client]);
        }
    }

    public void Reveal(AggregationMessage list, IReadOnlyCollection<int>? without = null)
    {
        int[] left = [.. Server.Clients.Except(without ?? [])];
        AggregationMessage request = list;
        if (Round.Server == ServerTrust.Active)
        {
            foreach (int client in left)
                Server.AcceptConsent(client, Clients[client].Consent(list));
            request = Server.Consents();
        }

        foreach (int client in left)
            Server.AcceptReveal(client, Clients[client].Reveal(request));
    }

    /// <summary>A whole attempt, in which given clients fall out before a step.</summary>
    public AggregationSum Run(int[]? keys = null, int[]? shares = null, int[]? uploads = null, int[]? reveals = null)
    {
        Shares(Keys(keys), shares);
        Upload(uploads);
        Reveal(Server.Unmask(), reveals);
        return Server.Open();
    }

    public long[] PlainSum(IEnumerable<int> clients)
    {
        long[] sum = new long[Round.Length];
        foreach (int client in clients)
            for (int i = 0; i < sum.Length; i++)
                sum[i] = unchecked(sum[i] + Inputs[client][i]);
        return sum;
    }

    public static long[] Words(MaskedVector vector)
    {
        long[] words = new long[vector.Length];
        for (int i = 0; i < words.Length; i++)
            words[i] = BinaryPrimitives.ReadInt64LittleEndian(vector.Values.Span[(8 * i)..]);
        return words;
    }

    public static double Correlation(long[] left, long[] right)
    {
        double[] x = [.. left.Select(value => (double)value)], y = [.. right.Select(value => (double)value)];
        double meanX = x.Average(), meanY = y.Average();
        double xy = x.Zip(y, (a, b) => (a - meanX) * (b - meanY)).Sum();
        return xy / Math.Sqrt(x.Sum(a => (a - meanX) * (a - meanX)) * y.Sum(b => (b - meanY) * (b - meanY)));
    }

    public void Dispose()
    {
        foreach (SecureAggregationClient client in Clients.Values)
            client.Dispose();
        foreach (EnrolmentKey key in _enrolment)
            key.Dispose();
    }
}
